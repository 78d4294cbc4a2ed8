/**
 * Attention by cuDNN: the graphs of its forward and backward passes, planned once per shape. cuDNN recognises a whole graph as one of its
 * fused kernels (Dao 2023, arXiv 2307.08691); the operations and their order are what it recognises.
 */
import koffi from 'koffi';
import { itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { type Shape, sizeOf, stridesOf } from '../../tensor/shape.ts';
import { cacheKey } from './cache.ts';
import { Cudnn, type CudnnPlan, Graph, type GraphTensor } from './cudnn-graph.ts';
import { type Bench, choose } from './tuning.ts';

export type AttentionCall = Call<'attention'> | Call<'attentionGrad'>;

/** Where a tensor of a graph lies: operand `at` of the call's reads and writes, a number in host memory, or bytes from the scratch's start. */
type Place = { at: number } | { host: bigint } | { scratch: number };
interface Prepared {
  plan: CudnnPlan;
  places: (readonly [GraphTensor, Place])[];
  /** Scratch that tensors of the graph take; the plan's workspace follows. */
  ownBytes: number;
}

/** Where the tensors of a graph are in one run. */
const addresses = (places: Prepared['places'], operand: (at: number) => number, scratch: number): (number | bigint)[] =>
  places.map(([, p]) => ('at' in p ? operand(p.at) : 'host' in p ? p.host : scratch + p.scratch));

/** Bytes from a view's first element to its last. */
const extentOf = (v: View): number => itemSize[v.dtype] * (1 + v.shape.reduce((sum, size, i) => sum + (size - 1) * v.strides[i]!, 0));

/** Attention of fewer operations takes cuDNN's first choice. */
const WORTH_TIMING = 1e9;
/** What a plan that is timed may want beside its operands. */
const MOST_WORKSPACE = 32 << 20;

/** Whether cuDNN has kernels for this attention: rows of 64 or 128 features that lie on 16 bytes, and a mask that both know. */
function supported({ kernel, attrs, reads, writes }: AttentionCall): boolean {
  const [q, k, v] = reads as [View, View, View];
  const [, Tq, , E] = q.shape as [number, number, number, number];
  const strided = kernel === 'attention' ? [q, k, v] : [q, k, v, ...writes.slice(0, 3)];
  return (
    (E === 64 || E === 128) &&
    v.shape[3] === E &&
    (q.dtype === 'bf16' || q.dtype === 'f16') &&
    reads.length === (kernel === 'attention' ? 3 : 6) && // no packed sequences
    (attrs.causal ? Tq === k.shape[1] : attrs.window === 0) &&
    Tq > 1 &&
    strided.every((x) => x.offset % 8 === 0 && x.strides.every((s, i) => (i === 3 ? s === 1 : s > 0 && s % 8 === 0)))
  );
}

/** A backward pass whose bits do not change from run to run; windows over heads of 64 features, where our kernel is the faster by a little. */
const oursIsBetter = ({ kernel, attrs, reads: [q] }: AttentionCall): boolean =>
  kernel === 'attentionGrad' || (attrs.window > 0 && q!.shape[3] === 64);

/** Whose attention runs, by THIMBLE_ATTENTION: a program made under one choice keeps it. */
function choice(): 'auto' | 'own' | 'cudnn' {
  const wish = process.env.THIMBLE_ATTENTION ?? 'auto';
  if (wish === 'auto' || wish === 'own' || wish === 'cudnn') return wish;
  throw new Error(`[cuda] THIMBLE_ATTENTION is '${wish}'; set it to auto, own or cudnn`);
}

/**
 * cuDNN's attention, where it is wanted and supported. `own` never; `cudnn` always, an error where the library is missing; `auto`, the default,
 * where it is found and better. Its backward pass adds up dq in an order that changes from run to run: it has to be asked for.
 */
export class AttentionLibrary {
  readonly #bench: Bench;
  readonly #prepared = new Map<string, Prepared>();
  readonly #refused = new Set<string>();
  readonly #numbers = new Map<number, bigint>();
  #opened: Cudnn | undefined;

  constructor(bench: Bench) {
    this.#bench = bench;
  }
  get #cudnn(): Cudnn {
    return (this.#opened ??= new Cudnn(this.#bench.stream));
  }

  /** Whether `call` is to run here. */
  takes(call: AttentionCall): boolean {
    const wish = choice();
    if (wish === 'own' || !supported(call) || (wish === 'auto' && oursIsBetter(call))) return false;
    const key = keyOf(call);
    if (wish === 'auto' && this.#refused.has(key)) return false;
    try {
      this.#of(call);
      return true;
    } catch (error) {
      if (wish === 'cudnn') throw error;
      this.#refused.add(key); // no library, or none of its engines takes this shape: our own kernels do
      return false;
    }
  }

  /** Bytes that a call needs beside its operands. */
  scratchBytes(call: AttentionCall): number {
    const { plan, ownBytes } = this.#of(call);
    return ownBytes + plan.workspaceBytes;
  }

  /** Runs a call, whose last write is its scratch if it needs any, on the addresses of its views. */
  runner(call: AttentionCall): (address: (v: View) => number) => void {
    const { plan, places, ownBytes } = this.#of(call);
    const operands = [...call.reads, ...call.writes];
    const run = plan.runner(places.map(([t]) => t));
    return (address) => {
      const scratch = ownBytes + plan.workspaceBytes ? address(operands.at(-1)!) : 0;
      run(
        addresses(places, (at) => address(operands[at]!), scratch),
        scratch + ownBytes,
      );
    };
  }

  #of(call: AttentionCall): Prepared {
    const key = keyOf(call);
    let made = this.#prepared.get(key);
    if (!made) this.#prepared.set(key, (made = call.kernel === 'attention' ? this.#forward(call) : this.#backward(call)));
    return made;
  }

  /** Host memory that holds `x` as f32 as long as the process lives. */
  #number(x: number): bigint {
    let at = this.#numbers.get(x);
    if (at === undefined) {
      const cell = new Float32Array(32).fill(x);
      this.#numbers.set(x, (at = koffi.address(cell)));
      kept.push(cell);
    }
    return at;
  }

  /** What both graphs begin with: the operands, and the masked scores. */
  #start(call: AttentionCall) {
    const graph = new Graph(this.#cudnn);
    const places: (readonly [GraphTensor, Place])[] = [];
    const [q, k] = call.reads as [View, View];
    const [B, Tq, Hq, E] = q.shape as [number, number, number, number];
    const [, Tk, Hkv] = k.shape as [number, number, number];
    const half = q.dtype as 'bf16' | 'f16';
    const bound = (t: GraphTensor, place: Place): GraphTensor => {
      places.push([t, place]);
      return t;
    };
    /** An operand [B, T, H, E] of the call as [B, H, T, E], or with `flipped` as [B, H, E, T]. */
    const operand = (at: number, flipped = false): GraphTensor => {
      const v = [...call.reads, ...call.writes][at]!;
      const [b, t, h, e] = v.strides as [number, number, number, number];
      const [, T, H] = v.shape as [number, number, number];
      const [dims, strides] = flipped
        ? [
            [B, H, E, T],
            [b, h, e, t],
          ]
        : [
            [B, H, T, E],
            [b, h, t, e],
          ];
      return bound(graph.tensor(dims!, strides!, half), { at });
    };
    /** f32 [B, Hq, Tq, 1]: an operand of the call. */
    const perRow = (at: number): GraphTensor => bound(graph.tensor([B, Hq, Tq, 1], stridesOf([B, Hq, Tq, 1]), 'f32'), { at });
    const inside = (dims: Shape, dtype: 'f32' | 'bf16' | 'f16' | 'i32' | 'bool' = 'f32'): GraphTensor =>
      graph.tensor(dims, stridesOf(dims), dtype, true);
    const number = (x: number): GraphTensor => bound(graph.scalar(), { host: this.#number(x) });
    const all = [B, Hq, Tq, Tk];
    const index = (x: GraphTensor, axis: number): GraphTensor => graph.pointwise('index', x, undefined, inside(all, 'i32'), { axis });
    /** The scores x with minus infinity for what a query does not see: keys right of it, and those that the window has left behind. */
    const masked = (x: GraphTensor): GraphTensor => {
      const { causal, window } = call.attrs;
      if (!causal) return x;
      const where = (scores: GraphTensor, mode: 'ge' | 'gt', a: GraphTensor, b: GraphTensor): GraphTensor => {
        const seen = graph.pointwise(mode, a, b, inside(all, 'bool'), { compute: 'bool' });
        return graph.pointwise('select', scores, number(Number.NEGATIVE_INFINITY), inside(all), { where: seen });
      };
      const left = where(x, 'ge', index(x, 2), index(x, 3));
      if (!window) return left;
      const end = graph.pointwise('add', index(left, 3), number(window), inside(all)); // of the window that begins with a key
      return where(left, 'gt', end, index(left, 2));
    };
    return { graph, places, bound, operand, perRow, inside, number, masked, half, all, B, Hq, Hkv, Tq, Tk, E };
  }

  #forward(call: Call<'attention'>): Prepared {
    const { graph: g, places, operand, perRow, inside, number, masked, half, all, B, Hq, Tq } = this.#start(call);
    const row = [B, Hq, Tq, 1];
    const scores = g.pointwise('mul', g.matmul(operand(0), operand(1, true), inside(all)), number(call.attrs.scale), inside(all));
    const s = masked(scores);
    const top = g.reduce('max', s, inside(row));
    const e = g.pointwise('exp', g.pointwise('sub', s, top, inside(all)), undefined, inside(all));
    const total = g.reduce('add', e, inside(row));
    g.pointwise('add', top, g.pointwise('log', total, undefined, inside(row)), perRow(4));
    const p = g.pointwise('div', e, total, inside(all, half));
    g.matmul(p, operand(2), operand(3));
    const what = `attention of q [${call.reads[0]!.shape}] on k [${call.reads[1]!.shape}]`;
    const plan = call.flops < WORTH_TIMING ? g.plan(what) : this.#fastest(call, g, places, what);
    return { plan, places, ownBytes: 0 };
  }

  /** The fastest of the first two plans for a forward pass: cuDNN's own ranking is 7 % off for causal heads of 64 features on an H200. */
  #fastest(call: Call<'attention'>, graph: Graph, places: Prepared['places'], what: string): CudnnPlan {
    const proposals = graph.proposals(what);
    const able = (i: number): boolean => (proposals[i]?.()?.workspaceBytes ?? Infinity) <= MOST_WORKSPACE;
    const candidates = (): Uint8Array[] => {
      const first = [...proposals.keys()].find(able);
      if (first === undefined) throw this.#cudnn.none(what);
      return [first, ...[first + 1].filter(able)].map((i) => Uint8Array.of(i));
    };
    const choice = choose(this.#bench, {
      entry: `attention-${cacheKey(`${this.#cudnn.version}`, this.#bench.machine, keyOf(call))}`,
      candidates,
      usable: ([i]) => able(i!),
      operands: [...[...call.reads, ...call.writes.slice(0, 2)].map(extentOf), MOST_WORKSPACE],
      runner: ([i]) => {
        const run = proposals[i!]!()!.runner(places.map(([t]) => t));
        return (given) =>
          run(
            addresses(places, (at) => given[at]!, 0),
            given.at(-1)!,
          ); // no tensor of a forward graph is scratch
      },
    });
    return proposals[choice[0]!]!()!;
  }

  #backward(call: Call<'attentionGrad'>): Prepared {
    const { graph: g, places, bound, operand, perRow, inside, number, masked, half, all, B, Hq, Hkv, Tq, Tk, E } = this.#start(call);
    const [q, kT, vT, o, lse, dO] = [operand(0), operand(1, true), operand(2, true), operand(3), perRow(4), operand(5)];
    const [dq, dk, dv, delta] = [operand(6), operand(7), operand(8), perRow(9)];
    const scale = number(call.attrs.scale);
    const product = g.reduce('add', g.pointwise('mul', dO, o, inside([B, Hq, Tq, E])), inside([B, Hq, Tq, 1]));
    g.pointwise('mul', product, number(1), delta);
    const scores = g.pointwise('mul', g.matmul(q, kT, inside(all)), scale, inside(all));
    const p = g.pointwise('exp', masked(g.pointwise('sub', scores, lse, inside(all))), undefined, inside(all));
    const transposed = (x: GraphTensor): GraphTensor => g.reshape(x, g.tensor([B, Hq, Tk, Tq], [Hq * Tq * Tk, Tq * Tk, 1, Tk], half, true));
    /** A gradient of keys or values: the sum over the query heads that share a head of theirs. */
    const intoHeads = (a: GraphTensor, b: GraphTensor, to: GraphTensor): void => {
      if (Hq === Hkv) g.matmul(a, b, to);
      else g.reduce('add', g.matmul(a, b, inside([B, Hq, Tk, E], half)), to);
    };
    intoHeads(transposed(p), dO, dv);
    const dp = g.pointwise('sub', g.matmul(dO, vT, inside(all)), delta, inside(all));
    const ds = g.pointwise('mul', g.pointwise('mul', dp, p, inside(all)), scale, inside(all));
    intoHeads(transposed(ds), q, dk);
    const [b, h, e, t] = kT.strides as [number, number, number, number];
    const k = g.reshape(kT, g.tensor([B, Hkv, Tk, E], [b, h, t, e], half, true));
    // dq is summed over blocks of keys in f32
    const sum = bound(g.tensor([B, Hq, Tq, E], stridesOf([B, Hq, Tq, E]), 'f32'), { scratch: 0 });
    g.pointwise('identity', g.matmul(ds, k, sum), undefined, dq);
    const plan = g.plan(`the gradient of attention of q [${call.reads[0]!.shape}] on k [${call.reads[1]!.shape}]`);
    return { plan, places, ownBytes: 4 * sizeOf([B, Hq, Tq, E]) };
  }
}

const kept: unknown[] = [];
/** What a plan depends on: attributes, types, shapes and strides, but no address. */
const keyOf = ({ kernel, attrs, reads, writes }: AttentionCall): string => {
  const operands = [...reads, ...writes.slice(0, kernel === 'attention' ? 2 : 4)];
  return JSON.stringify([kernel, attrs, operands.map((v) => [v.dtype, v.shape, v.strides])]);
};
