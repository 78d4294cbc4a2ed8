/** What a part of `npm run bench -- cuda` is: one file in bench/cuda, measured in a process of its own, and its peer in another. */
import { median } from './median.ts';

/** One line of the report: ours beside theirs. */
export interface Row {
  name: string;
  unit: string;
  /** Key of our figure; default: the name. */
  ours?: string;
  /** Key of the figure it is compared with, the peer's or, where the peer has none of that name, one of ours; default: the name. */
  theirs?: string;
  /** What the ratio ours / theirs should be: at least this where more is better, at most this where less is. */
  atLeast?: number;
  atMost?: number;
}

/** Figures by name; null where one could not be measured, whatever is not a number is a remark. */
export type Figures = Record<string, number | string | null>;

export interface Section {
  title: string;
  /**
   * Script in bench/peers/pytorch that measures the same with PyTorch. Its last line is JSON: {"version": "2.11", "figures": {...}}, with
   * medians over CUDA events.
   */
  peer?: string;
  /** What the peer may take; of one that prints a line after each part, the parts it ended until then count. Default: the time of the command. */
  peerSeconds?: number;
  /** How often ours and the peer's are measured in turn, so that a GPU that grows warm meets both; default 1. Figures are medians over rounds. */
  rounds?: number;
  rows: readonly Row[];
  /** Measures ours, medians; runs in a process whose default device is the GPU. */
  measure(): Figures | Promise<Figures>;
}

/** A row with its figures. */
export interface Line {
  name: string;
  unit: string;
  ours: number | null;
  theirs: number | null;
  ratio: number | null;
  /** Whether the ratio is what it should be; null where there is none, or nothing is asked. */
  met: boolean | null;
}

const numeric = (x: number | string | null | undefined): number | null => (typeof x === 'number' && Number.isFinite(x) ? x : null);

/** The middle of each figure over the rounds. */
export function medians(rounds: readonly Figures[]): Figures {
  const of = (name: string): number | string | null => {
    const all = rounds.map((r) => r[name]);
    const numbers = all.filter((x) => typeof x === 'number');
    return numbers.length ? median(numbers) : (all.at(-1) ?? null);
  };
  return Object.fromEntries(Object.keys(Object.assign({}, ...rounds) as Figures).map((name) => [name, of(name)]));
}

/** The rows of a section from what was measured; figures that are absent are null. */
export function linesOf(rows: readonly Row[], ours: Figures, theirs: Figures): Line[] {
  return rows.map(({ name, unit, atLeast, atMost, ...keys }) => {
    const a = numeric(ours[keys.ours ?? name]);
    const other = keys.theirs ?? name;
    const b = numeric(theirs[other] ?? (other === (keys.ours ?? name) ? null : ours[other]));
    const ratio = a !== null && b ? Number((a / b).toFixed(3)) : null;
    const met = ratio === null || (atLeast ?? atMost) === undefined ? null : ratio >= (atLeast ?? 0) && ratio <= (atMost ?? Infinity);
    return { name, unit, ours: a, theirs: b, ratio, met };
  });
}
