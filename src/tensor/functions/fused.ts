/**
 * Functions that have kernels of their own. `references` holds what each fused op means in terms of primitives: devices without the
 * kernel run that, tests compare with it, and second derivatives differentiate it.
 */
import { axisOf, checkTensors } from '../arguments.ts';
import type { FusedOp } from '../op-fused.ts';
import type { AttentionAttrs, DecodeAttentionAttrs, OpAttrs } from '../ops.ts';
import type { Tensor } from '../tensor.ts';
import { apply, applyAll } from '../trace.ts';
import { oneHot, takeAlong } from './indexing.ts';
import { permute, reshape, transpose, unsqueeze } from './layout.ts';
import { matmul } from './linear.ts';
import { linearCrossEntropyReferences } from './linear-cross-entropy-reference.ts';
import {
  add,
  bitAnd,
  bitOr,
  broadcastTo,
  cast,
  div,
  equal,
  exp,
  full,
  greater,
  greaterEqual,
  iota,
  less,
  lessEqual,
  maximum,
  minimum,
  mul,
  rsqrt,
  sub,
  where,
} from './pointwise.ts';
import { logSumExp, max, mean, sum } from './reduce.ts';

/** (x - mean) / sqrt(var + eps) * gain + bias over the last axis. gain, bias: f32 [D]. Ba et al. 2016, arXiv 1607.06450. */
export function layerNorm(x: Tensor, gain?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  const params = [gain, bias].filter((p) => p !== undefined);
  if (bias && !gain) throw new Error('[layerNorm] a bias needs a gain; pass ones([D])');
  return apply('norm', { eps, rms: false, affine: params.length as 0 | 1 | 2 }, [x, ...params]);
}

/** x / sqrt(mean(x^2) + eps) * gain over the last axis. Zhang and Sennrich 2019, arXiv 1910.07467. */
export function rmsNorm(x: Tensor, gain?: Tensor, eps = 1e-6): Tensor {
  return apply('norm', { eps, rms: true, affine: gain ? 1 : 0 }, gain ? [x, gain] : [x]);
}

/** Softmax over an axis (default the last). */
export function softmax(x: Tensor, axis = -1): Tensor {
  const last = axisOf('softmax', axis, x) === x.rank - 1;
  return last ? apply('softmax', {}, [x]) : transpose(apply('softmax', {}, [transpose(x, axis, -1)]), axis, -1);
}

/**
 * -log softmax(logits)[label] per row. logits [..., C], labels [...] integers; a label outside 0..C-1 is ignored (loss and gradient 0).
 * @returns losses [...], not reduced: divide their sum by the rows that count.
 */
export function crossEntropy(logits: Tensor, labels: Tensor): Tensor {
  return apply('crossEntropy', {}, [logits, labels]);
}

/** -sum(targets * log softmax(logits)) per row, in f32. targets [..., C] are probabilities. */
export function softCrossEntropy(logits: Tensor, targets: Tensor): Tensor {
  const f = cast(logits, 'f32');
  return sub(mul(logSumExp(f, -1), sum(targets, -1)), sum(mul(targets, f), -1));
}

export interface AttentionOptions extends Partial<AttentionAttrs> {
  /** i32 [n + 1], not decreasing: sequence s is the tokens offsets[s] .. offsets[s + 1] - 1 of the one batch, and sees only itself. */
  offsets?: Tensor;
}

/**
 * Scaled dot-product attention. q [B, Tq, Hq, E], k [B, Tk, Hkv, E], v [B, Tk, Hkv, Ev] -> [B, Tq, Hq, Ev]. Query head h reads kv head
 * floor(h * Hkv / Hq). causal: query i sees keys j <= i + Tk - Tq; window > 0: only the last `window` of them. offsets: sequences of any
 * length packed into B = 1, Tq = Tk; a token of none sees nothing and comes out as 0.
 * Vaswani et al. 2017, arXiv 1706.03762, eq. 1; computed in tiles, without the score matrix (Dao et al. 2022, arXiv 2205.14135).
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  return attentionWithLse(q, k, v, options).out;
}

/** `attention` with the log-sum-exp of the scores, f32 [B, Hq, Tq], from which partial results can be merged. */
export function attentionWithLse(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): { out: Tensor; lse: Tensor } {
  checkTensors('attention', [q, k, v]);
  const attrs = {
    scale: options.scale ?? 1 / Math.sqrt(q.shape.at(-1) ?? 1),
    causal: options.causal ?? false,
    window: options.window ?? 0,
  };
  const [out, lse] = applyAll('attention', attrs, [q, k, v, ...(options.offsets ? [options.offsets] : [])]) as [Tensor, Tensor];
  return { out, lse };
}

/**
 * Attention of the latest tokens over a cache with room to grow. q [B, Tq, Hq, E], k [B, C, Hkv, E], v [B, C, Hkv, Ev] -> [B, Tq, Hq, Ev].
 * `length` (one i32) counts the keys that are there, those of the Tq queries included: query i sees keys j < length - Tq + i + 1, and with
 * window > 0 only the last `window` of them. What lies beyond is
 * room: any finite numbers, without influence.
 */
export function decodeAttention(q: Tensor, k: Tensor, v: Tensor, length: Tensor, options: Partial<DecodeAttentionAttrs> = {}): Tensor {
  checkTensors('decodeAttention', [q, k, v, length]);
  const attrs = { scale: options.scale ?? 1 / Math.sqrt(q.shape.at(-1) ?? 1), window: options.window ?? 0 };
  return apply('decodeAttention', attrs, [q, k, v, length]);
}

/** f32 [T]: how many offsets lie at or before token i, 0 for a token after the last as for one before the first. */
function sequenceOf(offsets: Tensor, T: number): Tensor {
  const passed = lessEqual(reshape(offsets, [1, -1]), reshape(iota(T), [T, 1]));
  const count = sum(cast(passed, 'f32'), 1);
  return where(less(count, offsets.size), count, 0);
}

/** f32 [Tq, Tk]: 0 where query i sees key j, -inf elsewhere. */
function attentionMask(Tq: number, Tk: number, { causal, window }: AttentionAttrs, offsets?: Tensor): Tensor | undefined {
  if (!causal && !window && !offsets) return undefined;
  const i = add(reshape(iota(Tq), [Tq, 1]), Tk - Tq);
  const j = reshape(iota(Tk), [1, Tk]);
  let mask = broadcastTo(full([1, 1], 0), [Tq, Tk]);
  if (causal) mask = where(greaterEqual(i, j), mask, Number.NEGATIVE_INFINITY);
  if (window) mask = where(less(sub(i, window), j), mask, Number.NEGATIVE_INFINITY);
  if (offsets) {
    const own = sequenceOf(offsets, Tq);
    const same = equal(reshape(own, [Tq, 1]), reshape(where(greater(own, 0), own, -1), [1, Tk]));
    mask = where(same, mask, Number.NEGATIVE_INFINITY);
  }
  return mask;
}

/** [B, T, Hkv, E] -> [B, Hq, T, E]. */
function heads(x: Tensor, Hq: number): Tensor {
  const [B, T, H, E] = x.shape as [number, number, number, number];
  const y = permute(x, [0, 2, 1, 3]);
  return H === Hq ? y : reshape(broadcastTo(unsqueeze(y, 2), [B, H, Hq / H, T, E]), [B, Hq, T, E]);
}
function sumGroups(x: Tensor, H: number): Tensor {
  const [B, Hq, T, E] = x.shape as [number, number, number, number];
  return permute(Hq === H ? x : sum(reshape(x, [B, H, Hq / H, T, E]), 2), [0, 2, 1, 3]);
}

function scores(attrs: AttentionAttrs, q: Tensor, k: Tensor, offsets?: Tensor): Tensor {
  const Hq = q.shape[2]!;
  const s = mul(matmul(heads(cast(q, 'f32'), Hq), transpose(heads(cast(k, 'f32'), Hq))), attrs.scale);
  const mask = attentionMask(q.shape[1]!, k.shape[1]!, attrs, offsets);
  return mask ? add(s, mask) : s;
}

export const references: { [K in FusedOp]: (attrs: OpAttrs[K], inputs: readonly Tensor[]) => Tensor[] } = {
  norm({ eps, rms, affine }, [x, gain, bias]) {
    const f = cast(x!, 'f32');
    const m = rms ? full([...x!.shape.slice(0, -1), 1], 0) : mean(f, -1, { keepDims: true });
    const d = sub(f, m);
    const r = rsqrt(add(mean(mul(d, d), -1, { keepDims: true }), eps));
    let y = mul(d, r);
    if (affine > 0) y = mul(y, gain!);
    if (affine > 1) y = add(y, bias!);
    const rows = x!.shape.slice(0, -1);
    return [cast(y, x!.dtype), reshape(m, rows), reshape(r, rows)];
  },
  normGrad({ rms, affine }, inputs) {
    const [dy, x] = inputs.map((t) => cast(t, 'f32')) as [Tensor, Tensor];
    const gain = affine ? inputs[2] : undefined;
    const [m, r] = inputs.slice(-2).map((t) => unsqueeze(t, -1)) as [Tensor, Tensor];
    const hat = mul(sub(x, rms ? 0 : m), r);
    const d = gain ? mul(dy, gain) : dy;
    const back = sub(d, mul(hat, mean(mul(d, hat), -1, { keepDims: true })));
    const dx = mul(r, rms ? back : sub(back, mean(d, -1, { keepDims: true })));
    const overRows = (t: Tensor): Tensor => sum(reshape(t, [-1, x.shape.at(-1)!]), 0);
    return [cast(dx, inputs[0]!.dtype), overRows(mul(dy, hat)), overRows(dy)];
  },
  softmax(_, [x]) {
    const f = cast(x!, 'f32');
    const top = max(f, -1, { keepDims: true });
    const e = exp(sub(f, where(equal(top, Number.NEGATIVE_INFINITY), 0, top)));
    return [cast(div(e, maximum(sum(e, -1, { keepDims: true }), 1e-38)), x!.dtype)];
  },
  softmaxGrad(_, inputs) {
    const [dy, y] = inputs.map((t) => cast(t, 'f32')) as [Tensor, Tensor];
    return [cast(mul(y, sub(dy, sum(mul(dy, y), -1, { keepDims: true }))), inputs[0]!.dtype)];
  },
  crossEntropy(_, [logits, labels]) {
    const f = cast(logits!, 'f32');
    const lse = logSumExp(f, -1);
    const C = f.shape.at(-1)!;
    const inside = bitAnd(greaterEqual(labels!, 0), less(labels!, C));
    const own = reshape(takeAlong(f, unsqueeze(minimum(maximum(labels!, 0), C - 1), -1)), labels!.shape);
    return [where(inside, sub(lse, own), 0), lse];
  },
  crossEntropyGrad(_, [logits, labels, lse, g]) {
    const f = cast(logits!, 'f32');
    const C = f.shape.at(-1)!;
    const inside = bitAnd(greaterEqual(labels!, 0), less(labels!, C));
    const p = exp(sub(f, unsqueeze(lse!, -1)));
    return [cast(mul(sub(p, oneHot(labels!, C)), unsqueeze(where(inside, g!, 0), -1)), logits!.dtype)];
  },
  attention(attrs, [q, k, v, offsets]) {
    const s = scores(attrs, q!, k!, offsets);
    const lse = logSumExp(s, -1);
    const p = exp(sub(s, unsqueeze(where(equal(sub(lse, lse), 0), lse, 0), -1)));
    const o = permute(matmul(p, heads(cast(v!, 'f32'), q!.shape[2]!)), [0, 2, 1, 3]);
    return [cast(o, q!.dtype), lse];
  },
  decodeAttention(attrs, [q, k, v, length]) {
    const [Tq, C, Hq] = [q!.shape[1]!, k!.shape[1]!, q!.shape[2]!];
    const last = sub(add(reshape(iota(Tq), [Tq, 1]), cast(reshape(length!, [1, 1]), 'i32')), Tq); // the key of query i itself
    const j = reshape(iota(C), [1, C]);
    const unseen = attrs.window ? bitOr(less(last, j), lessEqual(j, sub(last, attrs.window))) : less(last, j);
    const s = where(unseen, Number.NEGATIVE_INFINITY, scores({ ...attrs, causal: false, window: 0 }, q!, k!));
    const lse = logSumExp(s, -1);
    const p = exp(sub(s, unsqueeze(where(equal(sub(lse, lse), 0), lse, 0), -1)));
    return [cast(permute(matmul(p, heads(cast(v!, 'f32'), Hq)), [0, 2, 1, 3]), q!.dtype), lse];
  },
  attentionGrad(attrs, [q, k, v, o, lse, dO, offsets]) {
    const [Hq, H] = [q!.shape[2]!, k!.shape[2]!];
    const finite = where(equal(sub(lse!, lse!), 0), lse!, 0);
    const p = exp(sub(scores(attrs, q!, k!, offsets), unsqueeze(finite, -1)));
    const g = heads(cast(dO!, 'f32'), Hq);
    const dV = matmul(transpose(p), g);
    const delta = sum(mul(g, heads(cast(o!, 'f32'), Hq)), -1, { keepDims: true });
    const dS = mul(mul(p, sub(matmul(g, transpose(heads(cast(v!, 'f32'), Hq))), delta)), attrs.scale);
    const dQ = matmul(dS, heads(cast(k!, 'f32'), Hq));
    const dK = matmul(transpose(dS), heads(cast(q!, 'f32'), Hq));
    return [
      cast(permute(dQ, [0, 2, 1, 3]), q!.dtype),
      cast(sumGroups(dK, H), k!.dtype),
      cast(sumGroups(dV, H), v!.dtype),
      reshape(delta, lse!.shape),
    ];
  },
  ...linearCrossEntropyReferences,
};

export type FusedName = keyof typeof references;
export const isFused = (op: string): op is FusedName => op in references;
