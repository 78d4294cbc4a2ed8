/** Line and scatter plots as inline SVG: no script, sharp at any size, readable by screen readers. */
import { type Axis, type AxisSpec, axis, unitText } from './axis.ts';
import { type Html, html } from './html.ts';

export interface Point {
  x: number;
  y: number;
  /** Ends of the error bar, e.g. the least and the most over seeds. */
  low?: number;
  high?: number;
  /** Written beside the point. */
  label?: string;
}

export interface Series {
  name: string;
  points: readonly Point[];
  /** 'both' unless given: a line through the points, in their order, and a mark on each. */
  draw?: 'line' | 'marks' | 'both';
}

export interface PlotSpec {
  title: string;
  x: AxisSpec;
  y: AxisSpec;
  /** At most eight: more cannot be told apart. */
  series: readonly Series[];
  caption?: string;
}

/** The view box, in its own units. */
const [width, height] = [720, 400];
const area = { left: 74, right: 20, top: 16, bottom: 56 };
const [innerWidth, innerHeight] = [width - area.left - area.right, height - area.top - area.bottom];

/** Marks differ in shape as well as in colour. Each is a path about (0, 0) with a radius near 5. */
const shapes = [
  'M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z',
  'M-4-4h8v8h-8z',
  'M0-5.5 5 4h-10z',
  'M0-5.8 5.2 0 0 5.8-5.2 0z',
  'M0 5.5 5-4h-10z',
  'M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z',
  'M0-5.6 5.3-1.7 3.3 4.5h-6.6l-2-6.2z',
  'M-5.2 0-2.6-4.5h5.2l2.6 4.5-2.6 4.5h-5.2z',
];

const round = (value: number): number => Math.round(value * 10) / 10;

/** Values that an axis must show: finite ones only. */
const span = (series: readonly Series[], pick: (point: Point) => (number | undefined)[]): number[] =>
  series.flatMap(({ points }) => points.flatMap(pick)).filter((value): value is number => value !== undefined && Number.isFinite(value));

const finite = ({ x, y }: Point): boolean => Number.isFinite(x) && Number.isFinite(y);

/** Consecutive finite points: a NaN breaks the line instead of bending it. */
function runs(points: readonly Point[]): Point[][] {
  const all: Point[][] = [[]];
  for (const point of points) {
    if (finite(point)) all.at(-1)!.push(point);
    else all.push([]);
  }
  return all.filter((run) => run.length > 0);
}

const markPath = (index: number, x: number, y: number, title: Html | null): Html =>
  html`<path class="mark" d="${shapes[index]}" transform="translate(${round(x)} ${round(y)})">${title}</path>`;

/** The plot as a figure. @throws RangeError for no data, more than eight series, or a log axis at or below 0. */
export function plot({ title, x, y, series, caption }: PlotSpec): Html {
  if (series.length > shapes.length)
    throw new RangeError(`[report] '${title}' has ${series.length} series, ${shapes.length} can be told apart; split the plot`);
  const across = axis(
    x,
    span(series, (point) => [point.x]),
  );
  const up = axis(
    y,
    span(series, (point) => [point.y, point.low, point.high]),
    7,
  );
  const left = (value: number): number => area.left + across.at(value) * innerWidth;
  const top = (value: number): number => area.top + (1 - up.at(value)) * innerHeight;

  const drawn = series.map(({ name, points, draw = 'both' }, index) => {
    const lines = draw === 'marks' ? [] : runs(points).map((run) => run.map((p) => `${round(left(p.x))},${round(top(p.y))}`).join(' '));
    const shown = points.filter(finite);
    const bars = shown.filter((p) => Number.isFinite(p.low) && Number.isFinite(p.high));
    const tip = (p: Point): Html => {
      const range =
        p.low !== undefined && p.high !== undefined
          ? ` (${unitText(p.low, y.unit ?? 'number')} to ${unitText(p.high, y.unit ?? 'number')})`
          : '';
      return html`<title>${name}${p.label ? `, ${p.label}` : ''}: ${unitText(p.x, x.unit ?? 'number')}, ${unitText(p.y, y.unit ?? 'number')}${range}</title>`;
    };
    return html`<g class="s${index}">
${bars.map((p) => html`<path class="bar" d="M${round(left(p.x))} ${round(top(p.low!))}V${round(top(p.high!))}m-5 0h10M${round(left(p.x) - 5)} ${round(top(p.low!))}h10"/>`)}
${lines.map((line) => html`<polyline class="line" points="${line}"/>`)}
${draw === 'line' ? null : shown.map((p) => markPath(index, left(p.x), top(p.y), tip(p)))}
${shown.filter((p) => p.label).map((p) => labelBeside(p.label!, left(p.x), top(p.y)))}
</g>`;
  });

  const summary = series.map(({ name, points }) => `${name}: ${points.filter(finite).length} points`).join('; ');
  return html`<figure class="plot"><figcaption><strong>${title}</strong></figcaption>
${series.length > 1 ? legend(series) : null}
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}. ${y.label} against ${x.label}. ${summary}">
${grid(across, up, left, top)}
<text class="name" x="${area.left + innerWidth / 2}" y="${height - 12}" text-anchor="middle">${x.label}</text>
<text class="name" transform="translate(17 ${area.top + innerHeight / 2}) rotate(-90)" text-anchor="middle">${y.label}</text>
${drawn}
</svg>
${caption ? html`<p class="caption">${caption}</p>` : null}</figure>`;
}

/** To the right of its point, or to the left where the plot ends. */
function labelBeside(text: string, x: number, y: number): Html {
  const onLeft = x + 10 + text.length * 7 > width - area.right;
  return html`<text class="label" x="${round(x + (onLeft ? -10 : 10))}" y="${round(y - 7)}" text-anchor="${onLeft ? 'end' : 'start'}">${text}</text>`;
}

function grid(across: Axis, up: Axis, left: (value: number) => number, top: (value: number) => number): Html {
  const [bottom, right] = [area.top + innerHeight, width - area.right];
  return html`<g class="grid">
${up.ticks.map(({ value, text }) => html`<path d="M${area.left} ${round(top(value))}H${right}"/><text x="${area.left - 9}" y="${round(top(value) + 4)}" text-anchor="end">${text}</text>`)}
${across.ticks.map(({ value, text }) => html`<path d="M${round(left(value))} ${bottom}v5"/><text x="${round(left(value))}" y="${bottom + 20}" text-anchor="middle">${text}</text>`)}
<path class="axis" d="M${area.left} ${bottom}H${right}"/></g>`;
}

function legend(series: readonly Series[]): Html {
  const key = (index: number, draw: Series['draw']): Html =>
    html`<svg class="key" viewBox="0 0 30 14" aria-hidden="true"><g class="s${index}">${draw === 'marks' ? null : html`<path class="line" d="M1 7h28"/>`}${draw === 'line' ? null : markPath(index, 15, 7, null)}</g></svg>`;
  return html`<ul class="legend">${series.map(({ name, draw }, index) => html`<li>${key(index, draw)}${name}</li>`)}</ul>`;
}
