/** Graph -> kernel calls over buffers. */

import type { Target } from '../device.ts';
import { is, reachable, type Value } from '../graph.ts';
import { fuseAppends } from './append.ts';
import { fuse, storedUnder, type Unit } from './cluster.ts';
import { Emitter } from './emit.ts';
import type { AnyCall } from './program.ts';
import { schedule } from './schedule.ts';
import { fuseSkinny } from './skinny.ts';

export interface Lowered {
  calls: AnyCall[];
  /** Bytes of every buffer. */
  bufferBytes: number[];
  /** Buffer of each input, by input index (absent: unused). */
  inputs: Map<number, number>;
  /** Buffer that holds each result, contiguous from offset 0. Two results, or a result and an input, may be one buffer. */
  results: number[];
}

/**
 * @param results values of a simplified graph.
 * @param donated indices of inputs whose memory results may take over.
 */
export function lower(results: readonly Value[], donated: ReadonlySet<number>, target: Target): Lowered {
  const nodes = reachable(results);
  const wanted = new Set(results.map(storedUnder));
  const fusion = fuseAppends(fuseSkinny(fuse(nodes, results), nodes, wanted, target), wanted, target);
  const donatedValues = new Set(nodes.flatMap((n) => (is(n, 'input') && donated.has(n.attrs.index) ? [n.outputs[0]!] : [])));
  const order: Unit[] = schedule(fusion.units, fusion.unitOf, donatedValues, wanted);
  const emitter = new Emitter(fusion, nodes, target, wanted);
  for (const unit of order) emitter.unit(unit);
  return emitter.finish(results);
}
