/** What a section is made of. */
import { type Html, html } from './html.ts';
import { type PlotSpec, plot } from './plot.ts';

/** A cell: numbers are set to the right and compared by eye, text to the left; null prints as a dash. */
export type Cell = string | number | null;

export interface TableSpec {
  header: readonly string[];
  rows: readonly (readonly Cell[])[];
  caption?: string;
  /** Rows to set in bold, such as the best one. */
  strong?: readonly number[];
}

export interface Picture {
  /** A PNG file's bytes. */
  png: Uint8Array;
  /** Read by screen readers, and shown under the picture. */
  caption: string;
}

export interface PicturesSpec {
  pictures: readonly Picture[];
  /** Pictures in a row; as many as fit unless given. */
  columns?: number;
  /** Enlarge small pictures without smoothing, so that pixels stay pixels. */
  pixelated?: boolean;
  caption?: string;
}

export type Block =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | ({ kind: 'table' } & TableSpec)
  | ({ kind: 'pictures' } & PicturesSpec)
  | ({ kind: 'plot' } & PlotSpec)
  | { kind: 'figures'; figures: readonly { name: string; value: string; note?: string }[] };

/** Blank lines part paragraphs. */
export const paragraphs = (text: string): Html[] => text.split(/\n\s*\n/).map((paragraph) => html`<p>${paragraph.trim()}</p>`);

/** A number, or a text that begins like one ('1.2 MiB', '83.1 %', '0:42'): set to the right. */
const isNumeric = (cell: Cell | undefined): boolean => cell === null || typeof cell === 'number' || /^[-+±<>≤≥]?\s?\d/.test(cell ?? '');

function table({ header, rows, caption, strong = [] }: TableSpec): Html {
  const numeric = header.map((_, column) => rows.length > 0 && rows.every((row) => isNumeric(row[column])));
  const side = (column: number): Html | null => (numeric[column] ? html` class="number"` : null);
  const cell = (value: Cell | undefined, column: number): Html =>
    column === 0 ? html`<th scope="row"${side(column)}>${value ?? '–'}</th>` : html`<td${side(column)}>${value ?? '–'}</td>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption ?? header.join(', ')}"><table>
${caption ? html`<caption>${caption}</caption>` : null}
<thead><tr>${header.map((name, column) => html`<th scope="col"${side(column)}>${name}</th>`)}</tr></thead>
<tbody>${rows.map((row, index) => html`<tr${strong.includes(index) ? html` class="strong"` : null}>${header.map((_, column) => cell(row[column], column))}</tr>`)}</tbody>
</table></div>`;
}

const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

function pictures({ pictures, columns, pixelated = false, caption }: PicturesSpec): Html {
  const one = ({ png, caption }: Picture): Html => {
    if (pngSignature.some((byte, at) => png[at] !== byte))
      throw new TypeError(`[report] the picture '${caption}' is not a PNG; encode it first`);
    const data = Buffer.from(png.buffer, png.byteOffset, png.byteLength).toString('base64');
    return html`<figure><img src="data:image/png;base64,${data}" alt="${caption}"${pixelated ? html` class="pixelated"` : null}><figcaption>${caption}</figcaption></figure>`;
  };
  const layout = columns ? html` style="grid-template-columns:repeat(${columns},minmax(0,1fr))"` : null;
  return html`<figure><div class="pictures"${layout}>${pictures.map(one)}</div>${caption ? html`<p class="caption">${caption}</p>` : null}</figure>`;
}

/** A block as HTML. @throws TypeError for a picture that is no PNG, RangeError as `plot`. */
export function renderBlock(block: Block): Html {
  switch (block.kind) {
    case 'text':
      return html`${paragraphs(block.text)}`;
    case 'code':
      return html`<pre class="scroll" tabindex="0"><code>${block.text}</code></pre>`;
    case 'table':
      return table(block);
    case 'pictures':
      return pictures(block);
    case 'plot':
      return plot(block);
    case 'figures':
      return html`<dl class="figures">${block.figures.map(({ name, value, note }) => html`<div><dt>${name}</dt><dd>${value}${note ? html`<small>${note}</small>` : null}</dd></div>`)}</dl>`;
  }
}
