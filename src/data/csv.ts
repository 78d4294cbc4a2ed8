import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { cannotOpen, FormatError } from '../io/errors.ts';
import { type FileSetOptions, type ImageFile, openImageFiles } from './files.ts';
import type { ImageSet } from './image-set.ts';

/** Opens a manifest `path,label`, one image a row, paths relative to the manifest. See `parseManifest`. */
export async function openManifest(path: string, options: FileSetOptions = {}): Promise<ImageSet> {
  const bytes = await readFile(path).catch((error) => {
    throw cannotOpen('csv', path, error);
  });
  const rows = parseManifest(decodeText(bytes, path), path);
  const files = rows.map((row): ImageFile => ({ path: resolve(dirname(path), row.path), className: row.className }));
  return openImageFiles(path, files, options);
}

/** Other encodings are refused: their letters would all become one and the same, and with them classes. */
function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FormatError(`[csv] ${name} is not UTF-8; save it as UTF-8`, { cause: error });
  }
}

const pathNames = ['path', 'file', 'filename', 'image'];
const labelNames = ['label', 'class', 'category'];

/** Reads the rows of a manifest. A first row that names both columns (`path`, `label`, ...) is a header and orders them. */
export function parseManifest(text: string, name: string): ImageFile[] {
  const rows = parseCsv(text, name);
  const head = rows[0]?.fields.map((field) => field.trim().toLowerCase()) ?? [];
  const named = [head.findIndex((f) => pathNames.includes(f)), head.findIndex((f) => labelNames.includes(f))] as const;
  const hasHeader = named[0] >= 0 && named[1] >= 0;
  const [pathAt, labelAt] = hasHeader ? named : ([0, 1] as const);
  const files = (hasHeader ? rows.slice(1) : rows).map(({ fields, line }): ImageFile => {
    const path = fields[pathAt]?.trim();
    const className = fields[labelAt]?.trim().normalize();
    if (!path || !className) throw new Error(`[csv] ${name}, line ${line}: expected path,label, got ${JSON.stringify(fields.join(','))}`);
    return { path, className };
  });
  if (files.length === 0) throw new Error(`[csv] ${name} has no rows; expected path,label, one image a line`);
  return files;
}

/** RFC 4180: fields may be quoted, and then hold commas, line ends and doubled quotes. Blank lines are passed over. */
export function parseCsv(text: string, name = 'csv'): { fields: string[]; line: number }[] {
  const rows: { fields: string[]; line: number }[] = [];
  const token = /("[^"]*(?:""[^"]*)*")?([^",\r\n]*)(,|\r\n|\n|\r|$)/y;
  let fields: string[] = [];
  let line = 1;
  let first = 1;
  token.lastIndex = text.startsWith('\ufeff') ? 1 : 0;
  while (token.lastIndex < text.length || fields.length > 0) {
    const match = token.exec(text);
    const [whole, quoted, plain, end] = match ?? [];
    if (whole === undefined || (quoted !== undefined && plain)) throw new Error(`[csv] ${name}, line ${line}: a stray or unclosed quote`);
    fields.push(quoted === undefined ? plain! : quoted.slice(1, -1).replaceAll('""', '"'));
    line += whole.match(/\r\n|\n|\r/g)?.length ?? 0;
    if (end === ',') continue;
    if (fields.length > 1 || fields[0] !== '') rows.push({ fields, line: first });
    fields = [];
    first = line;
  }
  return rows;
}
