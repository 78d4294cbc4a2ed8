/** The kernels of attention's gradient on Hopper (cuda/attention-grad-hopper.cuh): which heads they take, and how large their rings are. */
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

/**
 * A launch of kernel `name` over so many works of 128 rows, beside which tiles of `rows` come; undefined for other heads than of 64 or 128 features,
 * and where shared memory is too small.
 */
function launch(
  name: string,
  rows: number,
  { T, E, shape, views, from }: Parts,
  works: number,
  results: readonly View[],
  to: (p: (i: number) => string) => string,
  { sharedBytes, multiprocessors }: Card,
): Kernel | undefined {
  if (E !== 64 && E !== 128) return undefined;
  const own = E === 64 ? 2 : 1; // where rows take little, those of the next work come early
  const count = Math.min(4, Math.floor((sharedBytes - EXTRA - own * stage(128, E)) / stage(rows, E)));
  if (count < 2) return undefined;
  return {
    views: [...views, ...results, 'tickets'],
    grid: [Math.min(multiprocessors, works), 1, 1],
    body: (p) =>
      `${name}<${[T, E, rows, own, count].join(', ')}>(${from(p)}, ${to((i) => p(views.length + i))}, ${p(views.length + results.length)}, ${shape});`,
    block: 384,
    shared: EXTRA + own * stage(128, E) + count * stage(rows, E),
    resident: 1,
  };
}

/** The launches of dK and dV, and of dQ. */
export function hopperGradient(
  parts: Parts,
  works: readonly [number, number],
  [dq, dk, dv]: readonly [View, View, View],
  card: Card,
): Kernel[] | undefined {
  const ofKeys = launch(
    'attention_grad_kv_hopper',
    64,
    parts,
    works[0],
    [dk, dv],
    (p) => `${p(0)}, ${headsOf(dk)}, ${p(1)}, ${headsOf(dv)}`,
    card,
  );
  const ofQueries = launch('attention_grad_q_hopper', 64, parts, works[1], [dq], (p) => `${p(0)}, ${headsOf(dq)}`, card);
  return ofKeys && ofQueries && [ofKeys, ofQueries];
}
