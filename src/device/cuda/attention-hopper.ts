/** The kernels of attention and its gradient on Hopper (cuda/attention-hopper.cuh, attention-grad-hopper.cuh): which heads they take, and how large their rings are. */
import type { View } from '../../tensor/lower/program.ts';
import { headsOf, type Kernel } from './attention.ts';
import type { Abilities } from './calls.ts';

export type Card = Required<Pick<Abilities, 'sharedBytes' | 'capability' | 'multiprocessors'>>;

interface Parts {
  /** Storage type, features of a head, and the `Shape` of attention.cuh. */
  T: string;
  E: number;
  shape: string;
  /** What all kernels of a pass read, and the parameters that it is. */
  views: readonly (View | null)[];
  from: (p: (i: number) => string) => string;
}

/** Bytes of a stage of two tiles (`Pairs` of attention-panels.cuh). */
const stage = (rows: number, E: number): number => 2 * rows * E * 2 + 1024;
/** Shared memory of barriers, and what alignment takes. */
const EXTRA = 512 + 1024;

/** A pass: its kernel, the rows of a tile beside the 128 of a block, its works, and what it writes, strides given where a result has its own. */
interface Pass {
  name: string;
  rows: number;
  works: number;
  results: readonly View[];
  strided: boolean;
}

/** The launches of passes; undefined for other heads than of 64 or 128 features, and where shared memory is too small. */
function launches(
  { T, E, shape, views, from }: Parts,
  passes: readonly Pass[],
  { sharedBytes, multiprocessors }: Card,
): Kernel[] | undefined {
  if (E !== 64 && E !== 128) return undefined;
  const own = E === 64 ? 2 : 1; // where rows take little, those of the next work come early
  const rooms = passes.map(({ rows }) => Math.floor((sharedBytes - EXTRA - own * stage(128, E)) / stage(rows, E)));
  if (Math.min(...rooms) < 2) return undefined;
  return passes.map(({ name, rows, works, results, strided }, i) => {
    const count = Math.min(4, rooms[i]!);
    const to = (p: (i: number) => string): string[] => results.flatMap((v, j) => [p(views.length + j), ...(strided ? [headsOf(v)] : [])]);
    return {
      views: [...views, ...results, 'tickets'],
      grid: [Math.min(multiprocessors, works), 1, 1],
      body: (p) =>
        `${name}<${[T, E, rows, own, count].join(', ')}>(${[from(p), ...to(p), p(views.length + results.length), shape].join(', ')});`,
      block: 384,
      shared: EXTRA + own * stage(128, E) + count * stage(rows, E),
      resident: 1,
    };
  });
}

/** The launch of the forward pass. @param works blocks of 128 queries, all heads together. */
export const hopperForward = (parts: Parts, works: number, out: View, lse: View, card: Card): Kernel[] | undefined =>
  launches(parts, [{ name: 'attention_hopper', rows: 128, works, results: [out, lse], strided: false }], card);

/** The launches of dK and dV, and of dQ. @param works blocks of 128 keys and of 128 queries, all heads together. */
export function hopperGradient(
  parts: Parts,
  works: readonly [number, number],
  [dq, dk, dv]: readonly [View, View, View],
  card: Card,
): Kernel[] | undefined {
  const small = parts.E === 64; // large tiles of both sides and two sums of wide heads are more than the registers hold
  return launches(
    parts,
    [
      { name: 'attention_grad_kv_hopper', rows: small ? 128 : 64, works: works[0], results: [dk, dv], strided: true },
      { name: 'attention_grad_q_hopper', rows: small ? 64 : 128, works: works[1], results: [dq], strided: true },
    ],
    card,
  );
}
