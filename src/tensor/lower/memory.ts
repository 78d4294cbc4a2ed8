/** Which buffers share memory, and where the rest lie: donation, reuse in place, and the arena. */
import type { AnyCall, View } from './program.ts';
import { isContiguous } from './views.ts';

/** [first, last] call that touches each buffer; -1 as first for what exists before, calls.length as last for what is read after. */
export interface Lifetime {
  first: number;
  last: number;
}

export function lifetimes(calls: readonly AnyCall[], buffers: number, before: Iterable<number>, afterwards: Iterable<number>): Lifetime[] {
  const life: Lifetime[] = Array.from({ length: buffers }, () => ({ first: calls.length, last: -1 }));
  calls.forEach((call, i) => {
    for (const v of [...call.reads, ...call.writes]) {
      const l = life[v.buffer]!;
      l.first = Math.min(l.first, i);
      l.last = Math.max(l.last, i);
    }
  });
  for (const b of before) life[b]!.first = -1;
  for (const b of afterwards) life[b]!.last = calls.length;
  return life;
}

const sameWalk = (a: View, b: View): boolean =>
  a.offset === b.offset && a.dtype === b.dtype && a.strides.every((s, i) => s === b.strides[i] || a.shape[i] === 1);

/**
 * Whether call `call` may write buffer `to` over buffer `from`: a pointwise call whose every read of `from` walks exactly as the write
 * does (kernels read all of an element before they write any of it); or a gradient of logits over the logits, which its kernels are made for.
 */
export function canOverwrite(call: AnyCall, from: number, to: number): boolean {
  if (call.kernel === 'crossEntropyGrad') return call.reads.every((v, i) => (v.buffer === from) === (i === 0));
  if (call.kernel !== 'map') return false;
  const w = call.writes.findIndex((v) => v.buffer === to);
  const target = call.writes[w];
  if (!target || !isContiguous(target) || call.writes.some((v, i) => i !== w && v.buffer === to)) return false;
  return call.reads.every((v) => v.buffer !== from || sameWalk(v, target));
}

/** Whether a call copies an argument onto a result that has taken its memory over. */
export function isIdle(call: AnyCall, memory: Sharing, isArgument: (buffer: number) => boolean): boolean {
  const [from, to] = [call.reads[0], call.writes[0]];
  return (
    call.kernel === 'map' &&
    call.attrs.expression.steps.length === 0 &&
    call.reads.length === 1 &&
    call.writes.length === 1 &&
    isArgument(from!.buffer) &&
    memory.find(from!.buffer) === memory.find(to!.buffer) &&
    sameWalk(from!, to!)
  );
}

/** Merged buffers: find(b) is the buffer whose memory b uses. */
export class Sharing {
  readonly #parent: number[];
  constructor(n: number) {
    this.#parent = Array.from({ length: n }, (_, i) => i);
  }
  find(b: number): number {
    let root = b;
    while (this.#parent[root] !== root) root = this.#parent[root]!;
    this.#parent[b] = root;
    return root;
  }
  /** `b` uses the memory of `onto`. */
  join(b: number, onto: number): void {
    this.#parent[this.find(b)] = this.find(onto);
  }
}

export interface Block {
  bytes: number;
  first: number;
  last: number;
}

const ALIGN = 64;
const align = (n: number): number => Math.ceil(n / ALIGN) * ALIGN;

/** Pairs of blocks that the search may look at: about a third of a second. */
const SEARCH = 1.5e8;

/** The most bytes that are alive at once: no placement can need less. */
export function liveBytes(blocks: readonly Block[]): number {
  const change = new Map<number, number>();
  for (const b of blocks) {
    change.set(b.first, (change.get(b.first) ?? 0) + align(b.bytes));
    change.set(b.last + 1, (change.get(b.last + 1) ?? 0) - align(b.bytes));
  }
  let live = 0;
  let most = 0;
  for (const [, d] of [...change].sort((a, b) => a[0] - b[0])) most = Math.max(most, (live += d));
  return most;
}

/**
 * Offsets for blocks with lifetimes so that those alive together do not overlap, in as small an arena as found: best fit in
 * several orders (by size, by size x time, by start), then local search that moves the blocks at the top to the front of the order.
 */
export function place(blocks: readonly Block[]): { offsets: number[]; bytes: number; lowerBound: number } {
  const lowerBound = liveBytes(blocks);
  const by = (key: (b: Block) => number): number[] => blocks.map((_, i) => i).sort((a, b) => key(blocks[b]!) - key(blocks[a]!) || a - b);
  const keys = [(b: Block) => b.bytes * (b.last - b.first + 1), (b: Block) => -b.first, (b: Block) => b.last - b.first];
  let best = bestFit(
    blocks,
    by((b) => b.bytes),
  );
  for (const key of keys) {
    if (best.bytes === lowerBound) break;
    const next = bestFit(blocks, by(key));
    if (next.bytes < best.bytes) best = next;
  }
  let order = best.order;
  const tries = Math.min(60, Math.max(4, Math.floor(SEARCH / blocks.length ** 2)));
  for (let t = 0; t < tries && best.bytes > lowerBound; t++) {
    const top = order.filter((i) => best.offsets[i]! + align(blocks[i]!.bytes) === best.bytes);
    const moved = t % 2 ? [...top, ...order.filter((i) => !top.includes(i))] : promote(order, top, t);
    const next = bestFit(blocks, moved);
    if (next.bytes <= best.bytes) {
      best = next;
      order = next.order;
    } else order = moved;
  }
  return { offsets: best.offsets, bytes: best.bytes, lowerBound };
}

/** Moves `top` about a third of the way towards the front. */
function promote(order: readonly number[], top: readonly number[], t: number): number[] {
  const rest = order.filter((i) => !top.includes(i));
  const at = Math.floor((Math.min(...top.map((i) => order.indexOf(i))) * (1 + (t % 3))) / 4);
  return [...rest.slice(0, at), ...top, ...rest.slice(at)];
}

function bestFit(blocks: readonly Block[], order: readonly number[]): { offsets: number[]; bytes: number; order: readonly number[] } {
  const offsets = new Array<number>(blocks.length).fill(0);
  const placed: number[] = []; // sorted by offset
  let bytes = 0;
  for (const i of order) {
    const b = blocks[i]!;
    const size = align(b.bytes);
    let at = 0;
    let found = -1;
    let slack = Number.POSITIVE_INFINITY;
    for (const j of placed) {
      const o = blocks[j]!;
      if (o.last < b.first || o.first > b.last) continue;
      const gap = offsets[j]! - at;
      if (gap >= size && gap - size < slack) {
        found = at;
        slack = gap - size;
      }
      at = Math.max(at, offsets[j]! + align(o.bytes));
    }
    offsets[i] = found >= 0 ? found : at;
    bytes = Math.max(bytes, offsets[i]! + size);
    let p = placed.length;
    while (p > 0 && offsets[placed[p - 1]!]! > offsets[i]!) p--;
    placed.splice(p, 0, i);
  }
  return { offsets, bytes, order };
}
