/** Matrix products through cuBLASLt; descriptors and the chosen algorithm are kept by shape, as long as a program has a product of it. */
import koffi from 'koffi';
import { type DType, itemSize } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { cacheKey } from './cache.ts';
import { type Found, openLibrary } from './libraries.ts';
import { type Bench, choose } from './tuning.ts';

type Fn = (...args: unknown[]) => number;
const types: Partial<Record<DType, number>> = { f32: 0, f16: 2, bf16: 14 };
const F32_COMPUTE = 68;
const TF32_COMPUTE = 77;
const OP_T = 1;
const EPILOGUE = { none: 1, bias: 4, gelu: 32, geluGrad: 64, auxiliary: 128 };
// attribute numbers of cublasLt.h
const DESC_TRANSA = 3;
const DESC_TRANSB = 4;
const DESC_EPILOGUE = 7;
const DESC_BIAS = 8;
const DESC_AUXILIARY = 11;
const DESC_AUXILIARY_LEADING = 12;
const DESC_AUXILIARY_TYPE = 22;
const LAYOUT_BATCH = 5;
const LAYOUT_STRIDE = 6;
const PREF_WORKSPACE = 1;
const PREF_REDUCTIONS = 3;
/** Split sums are added in float32, in a fixed order: in place with a counter, or over partial sums in the workspace. */
const EXACT_REDUCTIONS = 1 | 2;
/** Bytes of cublasLtMatmulHeuristicResult_t, and of the algorithm that it begins with. */
const RESULT = 96;
const ALGORITHM = 64;
/** Proposals to ask for, with the workspace and without; version 13 answers with 8 at most. */
const CANDIDATES = 8;
/** Products of fewer operations take the library's first choice: nothing is gained on what lasts a microsecond. */
const WORTH_TUNING = 5e8;

/** One product ready to run. */
export interface Product {
  /** @param operands addresses: what the call reads, in its order, then what it writes. */
  run(operands: readonly number[], stream: number): void;
}

/** What the library makes for a product, and the functions that make it and take it back. */
const made = { desc: 'MatmulDesc', layout: 'MatrixLayout', pref: 'MatmulPreference' } as const;
type Made = keyof typeof made;

/** Products that no program has any more give back what the library made for them. */
const unused = new FinalizationRegistry<() => void>((release) => release());

interface Operand {
  transposed: boolean;
  leading: number;
}

/** How a row-major library call can read a matrix of these strides: as it is, or transposed. Undefined: neither stride is 1. */
export function operandOf(row: number, column: number, rows: number, columns: number): Operand | undefined {
  if (column === 1 && (row >= columns || rows === 1)) return { transposed: false, leading: Math.max(row, columns) };
  if (row === 1 && (column >= rows || columns === 1)) return { transposed: true, leading: Math.max(column, rows) };
  if (column === 1 || columns === 1)
    return rows === 1 || row >= columns ? { transposed: false, leading: Math.max(row, columns) } : undefined;
  return undefined;
}

/** Whether both operands of a gemm can be given to the library without a copy. */
export const readable = (v: View): boolean => {
  const [rows, columns] = v.shape.slice(-2) as [number, number];
  const [row, column] = v.strides.slice(-2) as [number, number];
  return operandOf(row, column, rows, columns) !== undefined;
};

/** Whether the library's products end so: in sums, and in GELUs of bf16 where every row lies on 16 bytes. */
export function hasEpilogue({ attrs, reads, writes }: Call<'gemm'>): boolean {
  const aligned = (v: View): boolean => v.offset % 8 === 0 && v.strides.slice(2).every((s) => s === 1 || s % 8 === 0);
  return !attrs.gelu || (writes[0]!.dtype === 'bf16' && attrs.n % 8 === 0 && [...reads, ...writes].every(aligned));
}

export class CublasLt {
  readonly #lib;
  readonly #handle: bigint;
  readonly #workspace: number;
  readonly #workspaceBytes: number;
  readonly #bench: Bench;
  readonly #products = new Map<string, WeakRef<Product>>();
  readonly #one = new Float32Array(32).fill(1);
  readonly #zero = new Float32Array(32);
  readonly version: number;

  constructor(workspace: number, workspaceBytes: number, bench: Bench, { lib }: Pick<Found, 'lib'> = openLibrary('cublasLt')) {
    const f = (name: string, args: string[]): Fn => lib.func(`cublasLt${name}`, 'int', args) as unknown as Fn;
    const p = 'void *';
    const handles = (n: number): string[] => new Array<string>(n).fill('uintptr_t');
    this.#lib = {
      create: f('Create', [p]),
      desc: f(`${made.desc}Create`, [p, 'int', 'int']),
      setDesc: f('MatmulDescSetAttribute', ['uintptr_t', 'int', p, 'size_t']),
      layout: f(`${made.layout}Create`, [p, 'int', 'uint64_t', 'uint64_t', 'int64_t']),
      setLayout: f('MatrixLayoutSetAttribute', ['uintptr_t', 'int', p, 'size_t']),
      pref: f(`${made.pref}Create`, [p]),
      setPref: f('MatmulPreferenceSetAttribute', ['uintptr_t', 'int', p, 'size_t']),
      destroy: {
        desc: f(`${made.desc}Destroy`, ['uintptr_t']),
        layout: f(`${made.layout}Destroy`, ['uintptr_t']),
        pref: f(`${made.pref}Destroy`, ['uintptr_t']),
      },
      heuristic: f('MatmulAlgoGetHeuristic', [...handles(7), 'int', p, p]),
      check: f('MatmulAlgoCheck', [...handles(6), p, p]),
      matmul: f('Matmul', [...handles(14), 'size_t', 'uintptr_t']),
      statusName: lib.func('cublasLtGetStatusName', 'str', ['int']) as unknown as (status: number) => string,
    };
    this.#handle = this.#get('create');
    this.#workspace = workspace;
    this.#workspaceBytes = workspaceBytes;
    this.#bench = bench;
    this.version = Number((lib.func('cublasLtGetVersion', 'size_t', []) as unknown as () => number | bigint)());
  }

  #check(status: number, what: string): void {
    if (status !== 0) throw new Error(`[cuda] ${what}: cuBLASLt says ${this.#lib.statusName(status)}`);
  }
  #get(name: 'create' | Made, ...args: unknown[]): bigint {
    const out = new BigUint64Array(16);
    this.#check(this.#lib[name](out, ...args), name);
    return out[0]!;
  }

  /**
   * The product of a call; b0 (the outer batch axis) is looped over by the caller. Its first use may measure on scratch memory: not while
   * a stream is captured.
   * @param align bytes that the addresses of its operands are multiples of: what it reads, then what it writes.
   */
  product(call: Call<'gemm'>, tf32: boolean, align: readonly number[]): Product {
    const { m, n, k, batch, bias, residual, gelu } = call.attrs;
    const operands = [...call.reads, ...call.writes].map((v) => [v.dtype, ...v.strides.slice(1)]);
    const key = JSON.stringify([m, n, k, batch[1], bias, residual, gelu, operands, tf32, align, this.#workspaceBytes]);
    const known = this.#products.get(key)?.deref();
    if (known) return known;
    const handles: [Made, bigint][] = [];
    const release = (): void => {
      for (const [kind, handle] of handles.splice(0)) this.#lib.destroy[kind](handle);
    };
    const get = (kind: Made, ...args: unknown[]): bigint => {
      const handle = this.#get(kind, ...args);
      handles.push([kind, handle]);
      return handle;
    };
    try {
      const product = this.#prepare(call, tf32, align, key, get);
      this.#products.set(key, new WeakRef(product));
      unused.register(product, () => {
        release();
        if (!this.#products.get(key)?.deref()) this.#products.delete(key);
      });
      return product;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Row-major C = A B is column-major C^T = B^T A^T: the operands change places. */
  #prepare(
    call: Call<'gemm'>,
    tf32: boolean,
    align: readonly number[],
    key: string,
    get: (kind: Made, ...args: unknown[]) => bigint,
  ): Product {
    const { m, n, k, batch, bias, residual, gelu } = call.attrs;
    const operands = [...call.reads, ...call.writes];
    const [a, b] = call.reads as [View, View];
    const [c] = call.writes as [View];
    const atC = call.reads.length;
    const atResidual = residual ? atC - 1 : atC;
    const atAuxiliary = gelu === 'backward' ? atC - 1 : atC + 1;
    const auxiliary = gelu && operands[atAuxiliary];
    const l = this.#lib;
    const name = `${call.label} [${m}, ${k}] x [${k}, ${n}]${batch[1] > 1 ? ` (${batch[1]} times)` : ''} of ${a.dtype}`;
    const x = operandOf(a.strides[2]!, a.strides[3]!, m, k)!;
    const y = operandOf(b.strides[2]!, b.strides[3]!, k, n)!;
    const desc = get('desc', tf32 && a.dtype === 'f32' ? TF32_COMPUTE : F32_COMPUTE, 0);
    const word = (value: number): Int32Array => new Int32Array(32).fill(value);
    if (y.transposed) this.#check(l.setDesc(desc, DESC_TRANSA, word(OP_T), 4), name);
    if (x.transposed) this.#check(l.setDesc(desc, DESC_TRANSB, word(OP_T), 4), name);
    const layout = (dtype: DType, rows: number, columns: number, leading: number, stride: number): bigint => {
      const h = get('layout', types[dtype], rows, columns, leading);
      if (batch[1] > 1) {
        this.#check(l.setLayout(h, LAYOUT_BATCH, word(batch[1]), 4), name);
        this.#check(l.setLayout(h, LAYOUT_STRIDE, new BigInt64Array(16).fill(BigInt(stride)), 8), name);
      }
      return h;
    };
    const lb = y.transposed ? layout(b.dtype, k, n, y.leading, b.strides[1]!) : layout(b.dtype, n, k, y.leading, b.strides[1]!);
    const la = x.transposed ? layout(a.dtype, m, k, x.leading, a.strides[1]!) : layout(a.dtype, k, m, x.leading, a.strides[1]!);
    const lc = layout(c.dtype, n, m, Math.max(n, c.strides[2]!), c.strides[1]!);
    const d = call.reads[atResidual];
    const ld = d ? layout(d.dtype, n, m, d.strides[2]!, 0) : lc;
    const ends = { bias, gelu: gelu === 'forward', geluGrad: gelu === 'backward', auxiliary: Boolean(auxiliary) };
    const epilogue = Object.entries(ends).reduce((sum, [end, there]) => sum + (there ? EPILOGUE[end as keyof typeof ends] : 0), 0);
    this.#check(l.setDesc(desc, DESC_EPILOGUE, word(epilogue || EPILOGUE.none), 4), name);
    const address = new BigUint64Array(16);
    const point = (attribute: number, to: number): void => this.#check(l.setDesc(desc, attribute, address.fill(BigInt(to)), 8), name);
    if (auxiliary) {
      this.#check(l.setDesc(desc, DESC_AUXILIARY_LEADING, new BigInt64Array(16).fill(BigInt(auxiliary.strides[2]!)), 8), name);
      this.#check(l.setDesc(desc, DESC_AUXILIARY_TYPE, word(types[auxiliary.dtype]!), 4), name);
      point(DESC_AUXILIARY, align[atAuxiliary]!); // proposals are for an address like this
    }
    const pref = get('pref');
    this.#check(l.setPref(pref, PREF_REDUCTIONS, word(EXACT_REDUCTIONS), 4), name);
    for (const [attribute, at] of Object.entries({ 5: 1, 6: 0, 7: atResidual, 8: atC })) // PREF_MIN_ALIGNMENT_A to _D
      this.#check(l.setPref(pref, Number(attribute), word(align[at]!), 4), name);

    const [one, zero] = [koffi.address(this.#one), koffi.address(this.#zero)];
    const runner = (algorithm: Uint8Array, workspace: number): Product['run'] => {
      const own = new Uint8Array(new ArrayBuffer(128)); // outside the collected heap, for as long as the product is
      own.set(algorithm);
      const algorithmAt = koffi.address(own);
      const scale = residual ? one : zero;
      return (at, stream) => {
        void own;
        if (bias) point(DESC_BIAS, at[2]!);
        if (auxiliary) point(DESC_AUXILIARY, at[atAuxiliary]!);
        const [pa, pb, pd, pc] = [at[0], at[1], at[atResidual], at[atC]];
        this.#check(
          l.matmul(this.#handle, desc, one, pb, lb, pa, la, scale, pd, ld, pc, lc, algorithmAt, this.#workspace, workspace, stream),
          name,
        );
      };
    };
    /** The workspace that a known algorithm needs here; undefined where it does not run. */
    const usable = (algorithm: Uint8Array): number | undefined => {
      const result = Buffer.alloc(4096);
      const own = Buffer.alloc(4096);
      own.set(algorithm);
      if (l.check(this.#handle, desc, lb, la, ld, lc, own, result) !== 0) return undefined;
      const need = Number(result.readBigUInt64LE(ALGORITHM));
      return need <= this.#workspaceBytes ? need : undefined;
    };
    const proposals = (workspace: number, count: number): Uint8Array[] => {
      this.#check(l.setPref(pref, PREF_WORKSPACE, new BigUint64Array(16).fill(BigInt(workspace)), 8), name);
      const found = Buffer.alloc(8192);
      const n = word(0);
      const status = l.heuristic(this.#handle, desc, lb, la, ld, lc, pref, count, found, n);
      if (workspace) this.#check(status, `no algorithm for ${name}`); // without one there may be none
      return Array.from({ length: n[0]! }, (_, i) => found.subarray(i * RESULT, i * RESULT + ALGORITHM));
    };
    /** Of long sums most proposals are split ones where there is workspace, and better whole ones are missing. */
    const candidates = (count: number): Uint8Array[] => {
      const all = [...proposals(this.#workspaceBytes, count), ...(count > 1 ? proposals(0, count) : [])];
      if (!all.length) throw new Error(`[cuda] no algorithm for ${name}: cuBLASLt proposes none; cast the operands to f32`);
      return all.filter((one, i) => all.findIndex((other) => Buffer.compare(one, other) === 0) === i);
    };
    const bytes = (v: View): number =>
      itemSize[v.dtype] * (1 + v.shape.slice(1).reduce((sum, size, i) => sum + (size - 1) * Math.abs(v.strides[i + 1]!), 0));
    const algorithm =
      2 * m * n * k * batch[1] < WORTH_TUNING
        ? candidates(1)[0]!
        : choose(this.#bench, {
            entry: `gemm-${cacheKey(`${this.version}`, this.#bench.machine, key)}`,
            candidates: () => candidates(CANDIDATES),
            usable: (algorithm) => usable(algorithm) !== undefined,
            operands: operands.map(bytes),
            runner: (algorithm) => runner(algorithm, usable(algorithm)!),
          });
    return { run: runner(algorithm, usable(algorithm) ?? this.#workspaceBytes) };
  }
}
