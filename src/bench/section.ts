/** What a part of `npm run bench -- cuda` is: one file in bench/cuda, measured in a process of its own, and its peer in another. */
import type { Turn } from './turns.ts';

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

interface Common {
  title: string;
  /** Script in bench/peers/pytorch that measures the same with PyTorch, with medians over CUDA events. */
  peer?: string;
  rows: readonly Row[];
}

/** Ours measures everything and ends, then the peer does; its last line is JSON: {"version": "2.11", "figures": {...}}. */
export interface InSequence extends Common {
  /** What the peer may take; of one that prints a line after each part, the parts it ended until then count. Default: the time of the command. */
  peerSeconds?: number;
  /** Measures ours, medians; runs in a process whose default device is the GPU. */
  measure(): Figures | Promise<Figures>;
}

/** Ours and the peer stay alive and measure each row by turns (turns.ts), so that a few percent between them can be told. */
export interface Alternating extends Common {
  /** Makes the figure of that name ready; runs in a process whose default device is the GPU. */
  prepare(name: string): Turn;
}

export type Section = InSequence | Alternating;

/** A row with its figures. */
export interface Line {
  name: string;
  unit: string;
  ours: number | null;
  theirs: number | null;
  ratio: number | null;
  /** Measured by turns: where the median of the ratio lies with 96 %. */
  between?: readonly [number, number];
  /** Whether the ratio is what it should be; null where there is none, or nothing is asked. */
  met: boolean | null;
}

const numeric = (x: number | string | null | undefined): number | null => (typeof x === 'number' && Number.isFinite(x) ? x : null);

/** @param ratio default: of the two figures. */
export function lineOf({ name, unit, atLeast, atMost }: Row, ours: number | null, theirs: number | null, ratio?: number): Line {
  const beside = ratio ?? (ours !== null && theirs ? ours / theirs : undefined);
  const rounded = beside === undefined ? null : Number(beside.toFixed(3));
  const met = rounded === null || (atLeast ?? atMost) === undefined ? null : rounded >= (atLeast ?? 0) && rounded <= (atMost ?? Infinity);
  return { name, unit, ours, theirs, ratio: rounded, met };
}

/** The rows of a section from what was measured; figures that are absent are null. */
export function linesOf(rows: readonly Row[], ours: Figures, theirs: Figures): Line[] {
  return rows.map((row) => {
    const [own, other] = [row.ours ?? row.name, row.theirs ?? row.name];
    return lineOf(row, numeric(ours[own]), numeric(theirs[other] ?? (other === own ? null : ours[other])));
  });
}
