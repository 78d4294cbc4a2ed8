/**
 * Sums that a product can end in: C = A B + bias + D. Where the device's product takes them, the call that adds them goes, and the product
 * itself never reaches memory.
 */
import type { Target } from '../device.ts';
import type { DType } from '../dtype.ts';
import { type Shape, sizeOf } from '../shape.ts';
import type { AnyCall, Call, View } from './program.ts';
import { isContiguous } from './views.ts';

/** An operand of a sum, and the type that the sum rounds it to first. */
interface Term {
  view: View;
  dtype: DType;
}

/** The operands of a call that only adds them up, each once; undefined for any other. */
function termsOf(call: AnyCall): readonly Term[] | undefined {
  if (call.kernel !== 'map' || call.writes.length !== 1) return undefined;
  const { loads, steps } = call.attrs.expression;
  const terms: Term[] = call.reads.map((view) => ({ view, dtype: view.dtype }));
  /** Which operand a value is, where it is one. */
  const operand = new Map(terms.map((_, i) => [i, i]));
  const used = new Set<number>();
  let sums = 0;
  for (const [i, s] of steps.entries()) {
    for (const a of s.op === 'add' || s.op === 'round' ? s.args : []) {
      if (used.has(a)) return undefined;
      used.add(a);
    }
    if (s.op === 'add' && s.lane === 'f32') sums++;
    else {
      const of = s.op === 'round' ? operand.get(s.args[0]) : undefined;
      if (s.op !== 'round' || of === undefined) return undefined;
      terms[of]!.dtype = s.to;
      operand.set(loads + i, of);
    }
  }
  return sums > 0 && sums === loads - 1 ? terms : undefined;
}

/** The call's space as the rows and columns of a product; undefined where it is another. */
export function matrixOf(v: View, m: number, n: number): View | undefined {
  if (isContiguous(v) && sizeOf(v.shape) === m * n) return { ...v, shape: [1, 1, m, n], strides: [0, 0, n, 1] };
  const isMatrix = v.shape.length === 2 && v.shape[0] === m && v.shape[1] === n && (v.strides[1] === 1 || n === 1);
  return isMatrix ? { ...v, shape: [1, 1, m, n], strides: [0, 0, v.strides[0]!, 1] } : undefined;
}

/** Whether `v` looks at the result of a product, row for row. */
export function isResult(v: View, { attrs: { m, n }, writes: [c] }: Call<'gemm'>): boolean {
  const matrix = matrixOf(v, m, n);
  return v.buffer === c!.buffer && matrix?.offset === c!.offset && matrix.strides[2] === c!.strides[2];
}
/** Whether `v` is the same row of n for all rows, as a bias is. */
export const isBias = (v: View, n: number): boolean => v.shape.length === 2 && v.shape[1] === n && v.strides[0] === 0 && v.strides[1] === 1;

/** The product with what `call` makes of it at its end, for which it reads `more`; undefined where the device refuses. */
export function extended(
  product: Call<'gemm'>,
  call: AnyCall,
  attrs: Partial<Call<'gemm'>['attrs']>,
  more: readonly (View | undefined)[],
  writes: readonly View[],
  target: Target,
): Call<'gemm'> | undefined {
  const one: Call<'gemm'> = {
    ...product,
    attrs: { ...product.attrs, ...attrs },
    reads: [...product.reads, ...more.filter((v) => v !== undefined)],
    writes,
    label: `${product.label}+${call.label}`,
    flops: product.flops + call.flops,
  };
  return target.epilogue?.(one) ? one : undefined;
}

/** A narrower copy of a bias pays for products of this many rows. */
const WORTH_A_CAST = 64;
export const takesBias = ({ attrs, writes }: Call<'gemm'>, bias: View): boolean =>
  bias.dtype === writes[0]!.dtype || attrs.m >= WORTH_A_CAST;

/** The product with the sum at its end, its bias in the type of the result; undefined where it does not fit. */
function joined(product: Call<'gemm'>, terms: readonly Term[], sum: AnyCall, target: Target): Call<'gemm'> | undefined {
  const { m, n, batch } = product.attrs;
  const [c] = product.writes as [View];
  const to = matrixOf(sum.writes[0]!, m, n);
  if (batch[0] * batch[1] !== 1 || product.attrs.bias || product.attrs.residual || !to || to.dtype !== c.dtype) return undefined;
  let bias: View | undefined;
  let residual: View | undefined;
  for (const { view, dtype } of terms) {
    if (dtype !== c.dtype) return undefined;
    const matrix = matrixOf(view, m, n);
    if (view.buffer === c.buffer) {
      if (!isResult(view, product)) return undefined;
    } else if (matrix && matrix.strides[2]! >= n && view.dtype === dtype && !residual) residual = matrix;
    else if (isBias(view, n) && !bias) bias = view;
    else return undefined;
  }
  if (bias && !takesBias(product, bias)) return undefined;
  return extended(product, sum, { bias: bias !== undefined, residual: residual !== undefined }, [bias, residual], [to], target);
}

/** A call that makes a bias [m, n] (every row the same) one of another type, and the bias then. */
function narrowed(bias: View, dtype: DType, fresh: Fresh): { cast: AnyCall; bias: View } {
  const n = bias.shape[1]!;
  const to = fresh([n], dtype);
  const from: View = { ...bias, shape: [n], strides: [1] };
  const attrs = { dims: [n], expression: { loads: 1, steps: [], results: [0] } };
  return {
    cast: { kernel: 'map', attrs, reads: [from], writes: [to], label: 'cast', flops: 0 },
    bias: { ...to, shape: bias.shape, strides: [0, 1] },
  };
}

/** By buffer: the calls that read it, in order, and how many results are written into it. */
export function usesOf(calls: readonly AnyCall[]): { readers: Map<number, number[]>; writes: Map<number, number> } {
  const readers = new Map<number, number[]>();
  const writes = new Map<number, number>();
  calls.forEach((call, i) => {
    for (const b of new Set(call.reads.map((v) => v.buffer))) {
      const list = readers.get(b);
      if (list) list.push(i);
      else readers.set(b, [i]);
    }
    for (const v of call.writes) writes.set(v.buffer, (writes.get(v.buffer) ?? 0) + 1);
  });
  return { readers, writes };
}

/** Whether what a call reads is still there after the calls `between`. */
export const stays = ({ reads }: AnyCall, between: readonly AnyCall[]): boolean =>
  !between.some((c) => c.writes.some((w) => reads.some((r) => r.buffer === w.buffer)));

type Fresh = (shape: Shape, dtype: DType) => View;

/**
 * The calls with sums joined to the products before them.
 * @param kept buffers that outlive the program.
 */
export function joinSums(calls: readonly AnyCall[], kept: ReadonlySet<number>, target: Target): AnyCall[] {
  if (!target.epilogue) return [...calls];
  const { readers, writes } = usesOf(calls);
  const out: (AnyCall | undefined)[] = [...calls];
  const productOf = new Map<number, number>();
  calls.forEach((call, i) => {
    if (call.kernel === 'gemm') productOf.set(call.writes[0]!.buffer, i);
    const terms = termsOf(call);
    for (const {
      view: { buffer },
    } of terms ?? []) {
      const at = productOf.get(buffer);
      const product = at === undefined ? undefined : out[at];
      // nobody else sees the product, and what it reads is still there
      if (product?.kernel !== 'gemm' || readers.get(buffer)?.length !== 1 || writes.get(buffer) !== 1 || kept.has(buffer)) continue;
      if (!stays(product, calls.slice(at! + 1, i))) continue;
      const one = joined(product, terms!, call, target);
      if (!one) continue;
      out[at!] = undefined;
      out[i] = one;
      productOf.set(one.writes[0]!.buffer, i);
      break;
    }
  });
  return out.filter((call) => call !== undefined);
}

/** The calls, with a bias of another type than its product's result made one of that type first. */
export const narrowBiases = (calls: readonly AnyCall[], fresh: Fresh): AnyCall[] =>
  calls.flatMap((call): AnyCall[] => {
    if (call.kernel !== 'gemm' || !call.attrs.bias || call.reads[2]!.dtype === call.writes[0]!.dtype) return [call];
    const { cast, bias } = narrowed(call.reads[2]!, call.writes[0]!.dtype, fresh);
    return [cast, { ...call, reads: call.reads.map((v, i) => (i === 2 ? bias : v)) }];
  });
