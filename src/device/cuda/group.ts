/**
 * Calls that do the same to different tensors, joined into one launch: the updates of all parameters, the casts of all weights, the last sums
 * of their gradients. A call may wait for later ones of its kind only while nothing in between touches its memory.
 */
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Program, View } from '../../tensor/lower/program.ts';
import { FEW_TERMS } from './reductions.ts';

/** Parameters of a kernel take at most 4 KiB on every GPU. */
const MOST_POINTERS = 500;

/** Bytes [from, to) of one external buffer, or of the arena (-1). */
interface Range {
  space: number;
  from: number;
  to: number;
}

interface Group {
  calls: number[];
  pointers: number;
  reads: Range[];
  writes: Range[];
}

const overlap = (a: readonly Range[], b: readonly Range[]): boolean =>
  a.some((x) => b.some((y) => x.space === y.space && x.from < y.to && y.from < x.to));

/** Elements of a reduction from which it fills a GPU by itself; more where each block has little to add up. */
const largeReduction = (count: number): number => (count <= FEW_TERMS ? 2 ** 22 : 2 ** 20);

/** What calls must share to run together, undefined for one that runs by itself. */
function kindOf({ kernel, attrs, reads, writes }: AnyCall): string | undefined {
  const text = (x: unknown): string => JSON.stringify(x, (_, y: unknown) => (typeof y === 'number' && !Number.isFinite(y) ? String(y) : y));
  const places = (place: (v: View) => string): string => [...reads, ...writes].map((v) => `${v.dtype}${place(v)}`).join();
  const alignment = (v: View): number => (v.offset * itemSize[v.dtype]) % 16;
  if (kernel === 'map') {
    // walked from end to end, whatever the length that 32 bits count, or one number that all repeat
    if (attrs.dims.length > 1 || attrs.dims[0]! >= 2 ** 32 || ![...reads, ...writes].every(({ strides: [s] }) => s === 0 || s === 1))
      return undefined;
    return `map ${text(attrs.expression)} ${places((v) => (v.strides[0] === 0 ? `@${v.buffer}+${v.offset}` : `%${alignment(v)}`))}`;
  }
  if (kernel === 'reduce' && attrs.outer * attrs.count * attrs.inner < largeReduction(attrs.count))
    return `reduce ${text(attrs)} ${places((v) => `[${v.strides}]%${alignment(v)}`)}`;
  return undefined;
}

/** What runs at the place of every call, in order: groups of calls, each one launch. Every call is in one group. */
export function groupCalls({ calls, buffers }: Pick<Program, 'calls' | 'buffers'>): number[][][] {
  const rangeOf = (v: View): Range => {
    const { external, offset, bytes } = buffers[v.buffer]!;
    return external < 0 ? { space: -1, from: offset, to: offset + bytes } : { space: external, from: 0, to: Number.POSITIVE_INFINITY };
  };
  const places: number[][][] = calls.map(() => []);
  const open = new Map<string, Group>();
  const close = (kind: string, beforeCall: number): void => {
    places[beforeCall - 1]!.push(open.get(kind)!.calls);
    open.delete(kind);
  };
  calls.forEach((call, i) => {
    const [reads, writes] = [call.reads.map(rangeOf), call.writes.map(rangeOf)];
    for (const [kind, g] of open) if (overlap(writes, g.reads) || overlap(writes, g.writes) || overlap(reads, g.writes)) close(kind, i);
    const kind = kindOf(call);
    if (kind === undefined) {
      places[i]!.push([i]);
      return;
    }
    const pointers = reads.length + writes.length;
    if ((open.get(kind)?.pointers ?? 0) + pointers > MOST_POINTERS) close(kind, i);
    const g = open.get(kind) ?? { calls: [], pointers: 0, reads: [], writes: [] };
    open.set(kind, g);
    g.calls.push(i);
    g.pointers += pointers;
    g.reads.push(...reads);
    g.writes.push(...writes);
  });
  for (const kind of [...open.keys()]) close(kind, calls.length);
  return places;
}
