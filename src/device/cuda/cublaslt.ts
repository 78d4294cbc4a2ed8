/** Matrix products through cuBLASLt; descriptors and the chosen algorithm are kept by shape. */
import koffi from 'koffi';
import type { DType } from '../../tensor/dtype.ts';
import type { Call, View } from '../../tensor/lower/program.ts';
import { openLibrary } from './libraries.ts';

type Fn = (...args: unknown[]) => number;
const types: Partial<Record<DType, number>> = { f32: 0, f16: 2, bf16: 14 };
const F32_COMPUTE = 68;
const TF32_COMPUTE = 77;
const OP_T = 1;
// attribute numbers of cublasLt.h
const DESC_TRANSA = 3;
const DESC_TRANSB = 4;
const LAYOUT_BATCH = 5;
const LAYOUT_STRIDE = 6;
const PREF_WORKSPACE = 1;

/** One product ready to run on pointers. */
export interface Product {
  run(a: number, b: number, c: number, stream: number): void;
}

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

export class CublasLt {
  readonly #lib: Record<'create' | 'desc' | 'setDesc' | 'layout' | 'setLayout' | 'pref' | 'setPref' | 'heuristic' | 'matmul', Fn>;
  readonly #handle: bigint;
  readonly #workspace: number;
  readonly #workspaceBytes: number;
  readonly #products = new Map<string, Product>();
  readonly #one = new Float32Array(32).fill(1);
  readonly #zero = new Float32Array(32);
  readonly #kept: unknown[] = [];

  constructor(workspace: number, workspaceBytes: number) {
    const { lib } = openLibrary('cublasLt');
    const f = (name: string, args: string[]): Fn => lib.func(name, 'int', args) as unknown as Fn;
    const p = 'void *';
    this.#lib = {
      create: f('cublasLtCreate', [p]),
      desc: f('cublasLtMatmulDescCreate', [p, 'int', 'int']),
      setDesc: f('cublasLtMatmulDescSetAttribute', ['uintptr_t', 'int', p, 'size_t']),
      layout: f('cublasLtMatrixLayoutCreate', [p, 'int', 'uint64_t', 'uint64_t', 'int64_t']),
      setLayout: f('cublasLtMatrixLayoutSetAttribute', ['uintptr_t', 'int', p, 'size_t']),
      pref: f('cublasLtMatmulPreferenceCreate', [p]),
      setPref: f('cublasLtMatmulPreferenceSetAttribute', ['uintptr_t', 'int', p, 'size_t']),
      heuristic: f('cublasLtMatmulAlgoGetHeuristic', [
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'int',
        p,
        p,
      ]),
      matmul: f('cublasLtMatmul', [
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'uintptr_t',
        'size_t',
        'uintptr_t',
      ]),
    };
    this.#handle = this.#get('create');
    this.#workspace = workspace;
    this.#workspaceBytes = workspaceBytes;
  }

  #check(status: number, what: string): void {
    if (status !== 0) throw new Error(`[cuda] cuBLASLt ${what} failed with status ${status}`);
  }
  #get(name: 'create' | 'desc' | 'layout' | 'pref', ...args: unknown[]): bigint {
    const out = new BigUint64Array(16);
    this.#check(this.#lib[name](out, ...args), name);
    return out[0]!;
  }

  /** The product of a call; b0 (the outer batch axis) is looped over by the caller. */
  product(call: Call<'gemm'>, tf32: boolean): Product {
    const { m, n, k, batch } = call.attrs;
    const [a, b] = call.reads as [View, View];
    const [c] = call.writes as [View];
    const key = JSON.stringify([m, n, k, batch[1], a.strides, b.strides, c.strides, a.dtype, c.dtype, tf32]);
    let made = this.#products.get(key);
    if (!made) this.#products.set(key, (made = this.#prepare(call, tf32)));
    return made;
  }

  /** Row-major C = A B is column-major C^T = B^T A^T: the operands change places. */
  #prepare({ attrs: { m, n, k, batch }, reads: [a, b], writes: [c] }: Call<'gemm'>, tf32: boolean): Product {
    const l = this.#lib;
    const x = operandOf(a!.strides[2]!, a!.strides[3]!, m, k)!;
    const y = operandOf(b!.strides[2]!, b!.strides[3]!, k, n)!;
    const desc = this.#get('desc', tf32 && a!.dtype === 'f32' ? TF32_COMPUTE : F32_COMPUTE, 0);
    const flag = new Int32Array(32).fill(OP_T);
    if (y.transposed) this.#check(l.setDesc(desc, DESC_TRANSA, flag, 4), 'transpose');
    if (x.transposed) this.#check(l.setDesc(desc, DESC_TRANSB, flag, 4), 'transpose');
    const layout = (dtype: DType, rows: number, columns: number, leading: number, stride: number): bigint => {
      const h = this.#get('layout', types[dtype], rows, columns, leading);
      if (batch[1] > 1) {
        this.#check(l.setLayout(h, LAYOUT_BATCH, new Int32Array(32).fill(batch[1]), 4), 'batch');
        this.#check(l.setLayout(h, LAYOUT_STRIDE, new BigInt64Array(16).fill(BigInt(stride)), 8), 'batch stride');
      }
      return h;
    };
    const lb = y.transposed ? layout(b!.dtype, k, n, y.leading, b!.strides[1]!) : layout(b!.dtype, n, k, y.leading, b!.strides[1]!);
    const la = x.transposed ? layout(a!.dtype, m, k, x.leading, a!.strides[1]!) : layout(a!.dtype, k, m, x.leading, a!.strides[1]!);
    const lc = layout(c!.dtype, n, m, Math.max(n, c!.strides[2]!), c!.strides[1]!);
    const pref = this.#get('pref');
    this.#check(l.setPref(pref, PREF_WORKSPACE, new BigUint64Array(16).fill(BigInt(this.#workspaceBytes)), 8), 'workspace');
    const found = Buffer.alloc(8192);
    const count = new Int32Array(32);
    const status = l.heuristic(this.#handle, desc, lb, la, lc, lc, pref, 1, found, count);
    if (status !== 0 || !count[0])
      throw new Error(`[cuda] cuBLASLt has no algorithm for [${m}, ${k}] x [${k}, ${n}] of ${a!.dtype} (status ${status})`);
    const algorithm = new Uint8Array(new ArrayBuffer(128));
    algorithm.set(found.subarray(0, 64));
    const need = Number(found.readBigUInt64LE(64));
    this.#kept.push(algorithm);
    const at = koffi.address(algorithm);
    const [one, zero] = [koffi.address(this.#one), koffi.address(this.#zero)];
    return {
      run: (pa, pb, pc, stream) =>
        this.#check(
          l.matmul(this.#handle, desc, one, pb, lb, pa, la, zero, pc, lc, pc, lc, at, this.#workspace, need, stream),
          `product [${m}, ${k}] x [${k}, ${n}]`,
        ),
    };
  }
}
