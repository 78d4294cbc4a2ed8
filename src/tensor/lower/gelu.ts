/**
 * GELU at the end of a product: C = gelu(A B + bias), which leaves h = A B + bias behind where the backward pass wants it, and there
 * C = (A B) gelu'(h). The tanh form (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2), which is the one that libraries have.
 */
import type { Target } from '../device.ts';
import { extended, isBias, isResult, matrixOf, stays, takesBias, usesOf } from './epilogue.ts';
import type { AnyCall, Call, Expression, View } from './program.ts';

const C = Math.sqrt(2 / Math.PI);
/** tanh(C (x + 0.044715 x^3)) */
const bend = (x: number): number => Math.tanh(C * (x + 0.044715 * x ** 3));
/** gelu(x) in its tanh form. */
export const geluOf = (x: number): number => 0.5 * x * (1 + bend(x));
/** Its derivative. */
export const geluSlope = (x: number): number => 0.5 * (1 + bend(x)) + 0.5 * x * (1 - bend(x) ** 2) * C * (1 + 3 * 0.044715 * x * x);

/** What an expression of products, sums and tanh gives for its loads, without its roundings; NaN for any other. */
function evaluated({ steps, results }: Expression, loads: readonly number[]): number {
  const values = [...loads];
  for (const s of steps) {
    const [a, b] = 'args' in s ? s.args.map((i) => values[i]!) : [];
    if (s.op === 'const') values.push(s.value);
    else if (s.op === 'add') values.push(a! + b!);
    else if (s.op === 'sub') values.push(a! - b!);
    else if (s.op === 'mul') values.push(a! * b!);
    else if (s.op === 'round') values.push(a!);
    else if (s.op === 'tanh') values.push(Math.tanh(a!));
    else values.push(Number.NaN);
  }
  return values[results[0]!]!;
}

const SAMPLES = 16;
/** Whether an expression computes `f` of its loads: however it is written, no other gives these values at these places. */
function computes(e: Expression, f: (loads: number[]) => number): boolean {
  return Array.from({ length: SAMPLES }, (_, s) => {
    const loads = Array.from({ length: e.loads }, (_, l) => 2 * Math.sin(1 + 7 * s + 3 * l));
    const wanted = f(loads);
    return Math.abs(evaluated(e, loads) - wanted) <= 1e-9 * (1 + Math.abs(wanted));
  }).every(Boolean);
}

/** A call that computes gelu(h), or a gradient times gelu'(h), of h = `product` + bias. */
interface Reader {
  to: View;
  bias: View | undefined;
  gradient: View | undefined;
}

function readerOf(call: AnyCall, maker: Call<'gemm'>): Reader | undefined {
  const { m, n } = maker.attrs;
  if (call.kernel !== 'map' || call.writes.length !== 1) return undefined;
  const to = matrixOf(call.writes[0]!, m, n);
  let [bias, gradient]: (View | undefined)[] = [];
  let [atGradient, ofProduct] = [-1, 0];
  for (const [i, v] of call.reads.entries()) {
    const matrix = matrixOf(v, m, n);
    if (isResult(v, maker)) ofProduct++;
    else if (matrix && matrix.strides[2]! >= n && !gradient) [gradient, atGradient] = [matrix, i];
    else if (isBias(v, n) && !bias) bias = v;
    else return undefined;
  }
  if (!to || ofProduct !== 1 || to.dtype !== maker.writes[0]!.dtype || (bias && !takesBias(maker, bias))) return undefined;
  const of = (loads: number[]): number => {
    const h = loads.reduce((sum, x, i) => (i === atGradient ? sum : sum + x), 0);
    return gradient ? loads[atGradient]! * geluSlope(h) : geluOf(h);
  };
  return computes(call.attrs.expression, of) ? { to, bias, gradient } : undefined;
}

const same = (a: View | undefined, b: View | undefined): boolean => a?.buffer === b?.buffer && a?.offset === b?.offset;
const plain = (call: AnyCall): call is Call<'gemm'> =>
  call.kernel === 'gemm' && call.attrs.batch[0] * call.attrs.batch[1] === 1 && !call.attrs.residual && !call.attrs.gelu;

/**
 * The calls with GELUs joined to the products before them: where all that reads a product is its GELU and gradients of that, and each of these
 * can be joined to a product too.
 * @param kept buffers that outlive the program.
 */
export function joinGelus(calls: readonly AnyCall[], kept: ReadonlySet<number>, target: Target): AnyCall[] {
  if (!target.epilogue) return [...calls];
  const { readers, writes } = usesOf(calls);
  const out: (AnyCall | undefined)[] = [...calls];
  const makerOf = new Map(calls.flatMap((call, i) => (plain(call) ? [[call.writes[0]!.buffer, i] as const] : [])));

  /** The product at `from` computed in the place of the call at `to`, which reads it; undefined where it cannot move or the device refuses. */
  const joined = (
    from: number,
    to: number,
    attrs: Partial<Call<'gemm'>['attrs']>,
    more: readonly (View | undefined)[],
    results: readonly View[],
  ): Call<'gemm'> | undefined => {
    const product = calls[from] as Call<'gemm'>;
    const { buffer } = product.writes[0]!;
    if (kept.has(buffer) || writes.get(buffer) !== 1 || !stays(product, calls.slice(from + 1, to))) return undefined;
    return extended(product, calls[to]!, attrs, more, results, target);
  };

  for (const [buffer, from] of makerOf) {
    const product = calls[from] as Call<'gemm'>;
    const h = product.writes[0]!;
    const places = readers.get(buffer) ?? [];
    const [first, ...gradients] = places.map((i) => readerOf(calls[i]!, product));
    if (!first || first.gradient || (first.bias && product.attrs.bias)) continue;
    const attrs = { gelu: 'forward', bias: Boolean(first.bias ?? product.attrs.bias) } as const;
    const forward = joined(from, places[0]!, attrs, [first.bias], gradients.length ? [first.to, h] : [first.to]);
    const backward = gradients.map((reader, i) => {
      const g = reader?.gradient;
      const maker = g && readers.get(g.buffer)?.length === 1 ? makerOf.get(g.buffer) : undefined;
      if (!g || maker === undefined || !same(reader.bias, first.bias)) return undefined;
      const { attrs: own, writes: results } = calls[maker] as Call<'gemm'>;
      if (own.bias || !same(results[0], g)) return undefined;
      const call = joined(maker, places[i + 1]!, { gelu: 'backward' }, [h], [reader.to]);
      return call && { maker, call };
    });
    if (!forward || !backward.every((b) => b !== undefined)) continue;
    out[from] = undefined;
    out[places[0]!] = forward;
    for (const [i, { maker, call }] of backward.entries()) {
      out[maker] = undefined;
      out[places[i + 1]!] = call;
    }
  }
  return out.filter((call) => call !== undefined);
}
