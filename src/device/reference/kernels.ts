/** The kernels that are not pointwise, as loops over row-major elements. */

import { geluOf, geluSlope } from '../../tensor/lower/gelu.ts';
import type { AnyCall, Call, KernelName } from '../../tensor/lower/program.ts';
import { evaluate } from './expression.ts';

export interface At {
  size: number;
  get(i: number): number;
  set(i: number, x: number): void;
}
type Kernel<K extends KernelName> = (call: Call<K>, reads: At[], writes: At[]) => void;

const reduce: Kernel<'reduce' | 'argreduce'> = (call, reads, [out]) => {
  const { expression, op, outer, count, inner } = call.attrs;
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      let best = op === 'sum' ? 0 : Number.NEGATIVE_INFINITY;
      let where = 0;
      for (let c = 0; c < count; c++) {
        const flat = (o * count + c) * inner + i;
        const x = evaluate(expression, (k) => reads[k]!.get(flat), flat)[0]!;
        if (op === 'sum') best += x;
        else if (x > best || (Number.isNaN(x) && !Number.isNaN(best))) [best, where] = [x, c];
      }
      out!.set(o * inner + i, call.kernel === 'argreduce' ? where : best);
    }
};

/** All elements in row-major order: for kernels that read them often. */
const dense = (x: At): Float64Array => new Float64Array(x.size).map((_, i) => x.get(i));

const gemm: Kernel<'gemm'> = ({ attrs: { m, n, k, batch, gelu } }, reads, [c, h]) => {
  const [a, b, ...more] = reads.map(dense) as [Float64Array, Float64Array, ...Float64Array[]];
  const slopes = gelu === 'backward' ? more.pop() : undefined;
  for (let t = 0; t < batch[0] * batch[1]; t++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = more.reduce((total, x) => total + x[i * n + j]!, 0);
        for (let p = 0; p < k; p++) sum += a[(t * m + i) * k + p]! * b[(t * k + p) * n + j]!;
        h?.set(i * n + j, sum);
        if (slopes) sum *= geluSlope(slopes[i * n + j]!);
        c!.set((t * m + i) * n + j, gelu === 'forward' ? geluOf(sum) : sum);
      }
};

/** The taps of sliding windows: (window element, image element or -1 in the padding), as flat indices. */
function* taps(call: Call<'unfold' | 'fold'>, image: readonly number[]): Generator<[number, number]> {
  const { kernel, stride, padding, dilation, height, width } = call.attrs;
  const [B, C] = image as [number, number];
  const out = (size: number, i: 0 | 1): number => Math.floor((size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i]) + 1;
  const [oh, ow] = [out(height, 0), out(width, 1)];
  let at = 0;
  for (let bc = 0; bc < B * C; bc++)
    for (let ky = 0; ky < kernel[0]; ky++)
      for (let kx = 0; kx < kernel[1]; kx++)
        for (let y = 0; y < oh; y++)
          for (let x = 0; x < ow; x++) {
            const iy = y * stride[0] - padding[0] + ky * dilation[0];
            const ix = x * stride[1] - padding[1] + kx * dilation[1];
            const inside = iy >= 0 && iy < height && ix >= 0 && ix < width;
            yield [at++, inside ? (bc * height + iy) * width + ix : -1];
          }
}

function clear(out: At): void {
  for (let i = 0; i < out.size; i++) out.set(i, 0);
}
const add = (out: At, i: number, x: number): void => {
  out.set(i, out.get(i) + x);
};
function inAxis(i: number, axis: number): number {
  if (i < 0 || i >= axis) throw new Error(`[reference] index ${i} is outside an axis of ${axis}`);
  return i;
}

export const kernels: { [K in KernelName]?: Kernel<K> } = {
  reduce: reduce as Kernel<'reduce'>,
  argreduce: reduce as Kernel<'argreduce'>,
  gemm,
  gemv({ attrs: { m, n, k, parts, operand, norm, result } }, [w, ...rest], writes) {
    const left = rest.slice(0, operand.loads);
    const gain = norm?.affine ? rest[operand.loads] : undefined;
    const right = rest.slice(operand.loads + (gain ? 1 : 0));
    const width = n / parts;
    for (let i = 0; i < m; i++) {
      let a = Array.from({ length: k }, (_, p) => evaluate(operand, (l) => left[l]!.get(i * k + p), i * k + p)[0]!);
      if (norm) {
        const scale = 1 / Math.sqrt(a.reduce((s, x) => s + x * x, 0) / k + norm.eps);
        a = a.map((x, p) => x * scale * (gain?.get(p) ?? 1));
      }
      for (let j = 0; j < width; j++) {
        const at = i * width + j;
        const sums = Array.from({ length: parts }, (_, s) => a.reduce((sum, x, p) => sum + x * w!.get(p * n + s * width + j), 0));
        const load = (l: number): number => (l < right.length ? right[l]!.get(at) : sums[l - right.length]!);
        evaluate(result, load, at).forEach((y, r) => {
          writes[r]!.set(at, y);
        });
      }
    }
  },
  take({ attrs: { outer, axis, inner, picks } }, [x, index], [out]) {
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < picks; j++)
        for (let n = 0; n < inner; n++) out!.set((o * picks + j) * inner + n, x!.get((o * axis + inAxis(index!.get(j), axis)) * inner + n));
  },
  scatterAdd({ attrs: { outer, axis, inner, picks } }, [dy, index], [out]) {
    clear(out!);
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < picks; j++)
        for (let n = 0; n < inner; n++)
          add(out!, (o * axis + inAxis(index!.get(j), axis)) * inner + n, dy!.get((o * picks + j) * inner + n));
  },
  takeAlong({ attrs: { outer, axis, inner, picks } }, [x, index], [out]) {
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < picks; j++)
        for (let n = 0; n < inner; n++) {
          const at = (o * picks + j) * inner + n;
          out!.set(at, x!.get((o * axis + inAxis(index!.get(at), axis)) * inner + n));
        }
  },
  scatterAlong({ attrs: { outer, axis, inner, picks } }, [dy, index], [out]) {
    clear(out!);
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < picks; j++)
        for (let n = 0; n < inner; n++) {
          const at = (o * picks + j) * inner + n;
          add(out!, (o * axis + inAxis(index!.get(at), axis)) * inner + n, dy!.get(at));
        }
  },
  updateAt({ attrs: { outer, axis, inner, picks } }, [values, at], [out]) {
    const start = at!.get(0);
    if (picks) [start, start + picks - 1].forEach((i) => inAxis(i, axis));
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < picks * inner; i++) out!.set((o * axis + start) * inner + i, values!.get(o * picks * inner + i));
  },
  argsort({ attrs: { rows, width, first, descending } }, [x], [out]) {
    for (let r = 0; r < rows; r++) {
      const row = Array.from({ length: width }, (_, i) => x!.get(r * width + i));
      const compare = (a: number, b: number): number => {
        const [p, q] = [row[a]!, row[b]!];
        if (Number.isNaN(p) || Number.isNaN(q)) return +Number.isNaN(p) - +Number.isNaN(q);
        return descending ? q - p : p - q;
      };
      row
        .map((_, i) => i)
        .sort((a, b) => (row[a] === row[b] ? 0 : compare(a, b)))
        .slice(0, first)
        .forEach((i, at) => {
          out!.set(r * first + at, i);
        });
    }
  },
  cumsum({ attrs: { outer, axis, inner } }, [x], [out]) {
    for (let o = 0; o < outer; o++)
      for (let n = 0; n < inner; n++) {
        let sum = 0;
        for (let a = 0; a < axis; a++) out!.set((o * axis + a) * inner + n, (sum += x!.get((o * axis + a) * inner + n)));
      }
  },
  unfold(call, [x], [out]) {
    for (const [w, i] of taps(call as never, call.reads[0]!.shape)) out!.set(w, i < 0 ? 0 : x!.get(i));
  },
  fold(call, [x], [out]) {
    clear(out!);
    for (const [w, i] of taps(call as never, (call as AnyCall).writes[0]!.shape)) if (i >= 0) add(out!, i, x!.get(w));
  },
};
