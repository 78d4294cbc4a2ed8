/**
 * cuDNN's backend API, as far as attention needs it: tensors, operations between them, and a graph of these as a plan that can be run.
 * Descriptors are made once per plan and kept; the numbers are those of cudnn_graph.h (cuDNN 9).
 */
import koffi from 'koffi';
import type { DType } from '../../tensor/dtype.ts';
import { openLibrary } from './libraries.ts';

type Fn = (...args: unknown[]) => number;
type Descriptor = bigint;
type Numbers = readonly (number | bigint)[];
/** The value of a descriptor's attribute as C reads it. */
interface Attribute {
  type: number;
  count: number;
  data: NodeJS.ArrayBufferView;
}
/** By the attribute's number. */
type Attributes = Record<number, Attribute>;

const kinds = {
  pointwise: 0,
  engineConfig: 3,
  heuristic: 4,
  plan: 5,
  pointwiseOp: 13,
  graph: 15,
  variantPack: 16,
  tensor: 17,
  matmul: 18,
  matmulOp: 19,
  reduction: 21,
  reductionOp: 22,
  reshapeOp: 31,
} as const;
const dataTypes = { f32: 0, f16: 2, i32: 4, bf16: 9, bool: 11 } as const satisfies Partial<Record<DType, number>>;
type DataType = keyof typeof dataTypes;
const pointwiseModes = {
  add: 0,
  mul: 1,
  div: 6,
  sub: 9,
  exp: 13,
  log: 15,
  identity: 21,
  gt: 302,
  ge: 303,
  index: 501,
  select: 601,
} as const;
const reductions = { add: 0, max: 3 } as const;
const HEURISTIC_A = 3;

/** Arrays that C reads lie outside the collected heap, where nothing moves: they have more than 64 bytes. */
function longs(values: Numbers): BigInt64Array {
  const out = new BigInt64Array(Math.max(16, values.length));
  out.set(values.map(BigInt));
  return out;
}
const many =
  (type: number) =>
  (values: Numbers): Attribute => ({ type, count: values.length, data: longs(values) });
const one =
  (type: number) =>
  (value: number): Attribute => ({ type, count: 1, data: new Int32Array(32).fill(value) });
const [i64s, pointers, descriptors] = [many(3), many(6), many(15)];
const handle = (h: bigint): Attribute => many(0)([h]);
const [enumOfData, bool, heuristicMode, pointwiseMode, reductionMode] = [one(1), one(2), one(8), one(14), one(18)];
const dataType = (t: DataType): Attribute => enumOfData(dataTypes[t]);
const f32 = (x: number): Attribute => ({ type: 4, count: 1, data: new Float32Array(32).fill(x) });
const tensorOf = (t: GraphTensor): Attribute => descriptors([t.descriptor]);

/** A tensor of a graph. */
export interface GraphTensor {
  readonly id: number;
  readonly descriptor: Descriptor;
  readonly dims: readonly number[];
  readonly strides: readonly number[];
}

/** A plan ready to run. */
export interface CudnnPlan {
  readonly workspaceBytes: number;
  /** Runs it on addresses: those of `tensors`, the graph's that lie in memory, in their order. Addresses that come again cost less. */
  runner(tensors: readonly GraphTensor[]): (addresses: Numbers, workspace: number) => void;
}

export class Cudnn {
  readonly version: number;
  readonly #handle: bigint;
  readonly #lib: Record<'make' | 'set' | 'get' | 'finalize' | 'execute' | 'destroy', Fn>;
  readonly #lastError: Fn;

  /** Throws where the library is missing or refuses to start. */
  constructor(stream: number) {
    // cuDNN opens these by name: they must be in the process before it looks
    for (const name of ['cublasLt', 'nvrtc'] as const) koffi.load(openLibrary(name).path, { global: true, lazy: true });
    const { lib, path } = openLibrary('cudnn');
    const f = (name: string, args: string[], result = 'int'): Fn => lib.func(name, result, args) as unknown as Fn;
    this.version = Number(f('cudnnGetVersion', [], 'size_t')());
    if (this.version < 90000)
      throw new Error(`[cuda] ${path} is cuDNN ${this.version}, at least 9.0 is needed; pip install nvidia-cudnn-cu13`);
    this.#lib = {
      make: f('cudnnBackendCreateDescriptor', ['int', 'void *']),
      set: f('cudnnBackendSetAttribute', ['void *', 'int', 'int', 'int64_t', 'void *']),
      get: f('cudnnBackendGetAttribute', ['void *', 'int', 'int', 'int64_t', 'void *', 'void *']),
      finalize: f('cudnnBackendFinalize', ['void *']),
      execute: f('cudnnBackendExecute', ['void *', 'void *', 'void *']),
      destroy: f('cudnnBackendDestroyDescriptor', ['void *']),
    };
    this.#lastError = f('cudnnGetLastErrorString', ['void *', 'size_t'], 'void');
    const out = longs([0]);
    this.#check(f('cudnnCreate', ['void *'])(out), 'a handle');
    this.#handle = out[0]!;
    this.#check(f('cudnnSetStream', ['void *', 'uintptr_t'])(this.#handle, stream), 'the stream');
  }

  #check(status: number, what: string): void {
    if (status !== 0) throw new Error(`[cuda] cuDNN refuses ${what} with status ${status}: ${this.#reason()}`);
  }
  #reason(): string {
    const text = Buffer.alloc(4096);
    this.#lastError(text, text.length);
    return text.toString('latin1').split('\0')[0]!.trim() || 'no reason given';
  }
  /** A descriptor with its attributes, not yet finalized. */
  #begin(kind: keyof typeof kinds, attributes: Attributes): Descriptor {
    const out = longs([0]);
    this.#check(this.#lib.make(kinds[kind], out), kind);
    for (const [name, { type, count, data }] of Object.entries(attributes))
      this.#check(this.#lib.set(out[0], Number(name), type, count, data), kind);
    return out[0]!;
  }
  /** A finished descriptor. */
  make(kind: keyof typeof kinds, attributes: Attributes): Descriptor {
    const d = this.#begin(kind, attributes);
    this.#check(this.#lib.finalize(d), kind);
    return d;
  }
  /** Attribute `name`, longs or descriptors, into `into`; returns how many there are. */
  #get(d: Descriptor, name: number, type: number, into: BigInt64Array | null, room: number): number {
    const count = longs([0]);
    this.#check(this.#lib.get(d, name, type, room, count, into), `attribute ${name}`);
    return Number(count[0]);
  }

  /**
   * The plans that cuDNN's own heuristic proposes for these operations, its first choice first. Each takes half a second to make, when it is
   * first asked for; undefined: an engine that cannot take these shapes after all.
   */
  proposals(operations: readonly Descriptor[], what: string): (() => CudnnPlan | undefined)[] {
    const graph = this.make('graph', { 800: handle(this.#handle), 801: descriptors(operations) });
    const heuristic = this.make('heuristic', { 200: heuristicMode(HEURISTIC_A), 201: descriptors([graph]) });
    const room = this.#get(heuristic, 202, 15, null, 0);
    const configs = longs(Array.from({ length: room }, () => this.#begin('engineConfig', {})));
    const found = room && this.#get(heuristic, 202, 15, configs, room);
    return [...configs.subarray(0, found)].map((config) => {
      let made: { plan: CudnnPlan | undefined } | undefined;
      return () => (made ??= { plan: this.#plan(config, what) }).plan;
    });
  }

  #plan(config: Descriptor, what: string): CudnnPlan | undefined {
    const plan = this.#begin('plan', { 400: handle(this.#handle), 401: descriptors([config]) });
    if (this.#lib.finalize(plan) !== 0) return undefined;
    const bytes = longs([0]);
    this.#get(plan, 402, 3, bytes, 1);
    return {
      workspaceBytes: Number(bytes[0]),
      runner: (tensors) => {
        const ids = i64s(tensors.map((t) => t.id));
        let latest: { key: string; pack: Descriptor } | undefined;
        return (addresses, workspace) => {
          const key = `${addresses.join()},${workspace}`;
          if (latest?.key !== key) {
            if (latest) this.#lib.destroy(latest.pack);
            latest = { key, pack: this.make('variantPack', { 1000: ids, 1001: pointers(addresses), 1003: pointers([workspace]) }) };
          }
          this.#check(this.#lib.execute(this.#handle, plan, latest.pack), what);
        };
      },
    };
  }

  /** Why there is no plan. */
  none(what: string): Error {
    return new Error(`[cuda] cuDNN ${this.version} has no plan for ${what}: ${this.#reason()}`);
  }
}

/** Collects the operations of one graph. Shapes and strides are in elements, outermost first. */
export class Graph {
  readonly #cudnn: Cudnn;
  readonly #operations: Descriptor[] = [];
  #tensors = 0;
  constructor(cudnn: Cudnn) {
    this.#cudnn = cudnn;
  }

  /** A `virtual` tensor exists only inside the graph. */
  tensor(dims: readonly number[], strides: readonly number[], dtype: DataType, virtual = false, attributes: Attributes = {}): GraphTensor {
    const id = ++this.#tensors;
    const descriptor = this.#cudnn.make('tensor', {
      900: i64s([16]), // alignment
      901: dataType(dtype),
      902: i64s(dims),
      903: i64s(strides),
      906: i64s([id]),
      907: bool(+virtual),
      ...attributes,
    });
    return { id, descriptor, dims, strides };
  }
  /** An f32 that is read from host memory. */
  scalar(): GraphTensor {
    return this.tensor([1, 1, 1, 1], [1, 1, 1, 1], 'f32', false, { 908: bool(1) });
  }
  matmul(a: GraphTensor, b: GraphTensor, to: GraphTensor): GraphTensor {
    const how = this.#cudnn.make('matmul', { 1500: dataType('f32') });
    return this.#add('matmulOp', to, { 1520: tensorOf(a), 1521: tensorOf(b), 1522: tensorOf(to), 1523: descriptors([how]) });
  }
  /** `index` counts along `axis`; `select` takes x where `where` holds, b elsewhere. */
  pointwise(
    mode: keyof typeof pointwiseModes,
    x: GraphTensor,
    b: GraphTensor | undefined,
    to: GraphTensor,
    { compute = 'f32', axis, where }: { compute?: DataType; axis?: number; where?: GraphTensor } = {},
  ): GraphTensor {
    const how = this.#cudnn.make('pointwise', {
      0: pointwiseMode(pointwiseModes[mode]),
      1: dataType(compute),
      ...(axis === undefined ? {} : { 9: i64s([axis]) }),
    });
    return this.#add('pointwiseOp', to, {
      750: descriptors([how]),
      751: tensorOf(x),
      ...(b && { 752: tensorOf(b) }),
      753: tensorOf(to),
      754: f32(1), // factors of x and b
      755: f32(1),
      ...(where && { 758: tensorOf(where) }),
    });
  }
  reduce(mode: keyof typeof reductions, x: GraphTensor, to: GraphTensor): GraphTensor {
    const how = this.#cudnn.make('reduction', { 1600: reductionMode(reductions[mode]), 1601: dataType('f32') });
    return this.#add('reductionOp', to, { 1610: tensorOf(x), 1611: tensorOf(to), 1612: descriptors([how]) });
  }
  /** The same numbers under another shape or order of axes. */
  reshape(x: GraphTensor, to: GraphTensor): GraphTensor {
    return this.#add('reshapeOp', to, { 2200: tensorOf(x), 2201: tensorOf(to) });
  }
  #add(kind: keyof typeof kinds, to: GraphTensor, attributes: Attributes): GraphTensor {
    this.#operations.push(this.#cudnn.make(kind, attributes));
    return to;
  }
  proposals(what: string): (() => CudnnPlan | undefined)[] {
    return this.#cudnn.proposals(this.#operations, what);
  }
  /** The first of the proposed plans. */
  plan(what: string): CudnnPlan {
    for (const proposal of this.proposals(what)) {
      const plan = proposal();
      if (plan) return plan;
    }
    throw this.#cudnn.none(what);
  }
}
