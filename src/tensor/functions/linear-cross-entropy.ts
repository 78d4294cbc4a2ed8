/**
 * Cross-entropy of a linear classifier without its logits: "Cut Your Losses in Large-Vocabulary Language Models", Wijmans et al., ICLR 2025,
 * arXiv 2411.09009. The logits A = e c^T exist one tile at a time: forward for their log-sum-exp, backward once more for their gradient.
 */
import { checkList, checkTensors } from '../arguments.ts';
import { machineEpsilon } from '../dtype.ts';
import type { LinearCrossEntropyAttrs } from '../ops.ts';
import { ShapeError, sameShape, show, sizeOf } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { applyAll } from '../trace.ts';
import { concat, narrow, reshape, transpose } from './layout.ts';
import { matmul } from './linear.ts';
import { add, cast, div, equal, exp, full, log, maximum, mul, stopGradient, sub } from './pointwise.ts';
import { argsort, sum } from './reduce.ts';

/** Whose gradient leaves out tiles below eps: section 4.3 of the paper, named as its authors name their presets. */
export const presets = {
  /** Both: for fine-tuning. */
  cce: { e: true, c: true },
  /** Not the classifier's, where rare tokens have nothing but tiny gradients: the authors' choice for pretraining. */
  kahan_full_c: { e: true, c: false },
  kahan_full_e: { e: false, c: true },
  /** Nothing is left out: for training from new weights, whose probabilities are all about 1 / V. */
  exact: { e: false, c: false },
} as const;
export type LinearCrossEntropyPreset = keyof typeof presets;

export interface LogitOptions {
  /** f32 [V], added to the logits. */
  bias?: Tensor;
  /** Logits a become softCap * tanh(a / softCap). */
  softCap?: number;
  /** Rows with this target count for nothing: -100. */
  ignoreIndex?: number;
  preset?: LinearCrossEntropyPreset;
  /** What a tile's |softmax - onehot| must reach to be computed; 'auto': the dtype's machine epsilon / 32, 2^-12 for bf16. */
  filterEps?: number | 'auto';
  /** Whether tiles take classifier rows by their mean logits, so that large logits share tiles: by default where a half-precision filter is on. */
  sort?: boolean;
  /** Bytes that blocks of logits may take on a device that keeps them in memory: 48 MB. */
  memory?: number;
}
export interface LinearCrossEntropyOptions extends LogitOptions {
  /** Row i predicts targets[i + shift], along the last axis of the targets; the last `shift` rows are ignored. */
  shift?: number;
  /** Over the rows that count: their mean (0 where there is none), their sum, or all of them. */
  reduction?: 'mean' | 'sum' | 'none';
}

/** Bytes of the smallest blocks on any device: 128 x 256 logits and 128 rows' sums in f32, and places in the order of the vocabulary. */
export const leastMemory = (classes: number, features: number): number => 4 * (128 * (256 + features) + classes) + 16;

interface Operands {
  e: Tensor;
  c: Tensor;
  targets: Tensor;
}

function attrsOf({ e, c }: Operands, o: LogitOptions, shard = { first: 0, total: c.shape[0]! }): LinearCrossEntropyAttrs {
  const filter = presets[o.preset ?? 'cce'];
  if (!filter) throw new RangeError(`[linearCrossEntropy] there is no preset '${o.preset}'; use one of ${Object.keys(presets).join(', ')}`);
  const eps = o.filterEps === undefined || o.filterEps === 'auto' ? machineEpsilon[e.dtype] / 32 : o.filterEps;
  for (const [name, x] of Object.entries({ softCap: o.softCap ?? 0, filterEps: eps, memory: o.memory ?? 48e6 }))
    if (!(x >= 0 && Number.isFinite(x))) throw new RangeError(`[linearCrossEntropy] ${name} is ${x}; it must be a number >= 0`);
  const filters = eps > 0 && (filter.e || filter.c);
  return {
    ...shard,
    ignore: o.ignoreIndex ?? -100,
    softCap: o.softCap ?? 0,
    bias: o.bias !== undefined,
    eps: filters ? eps : 0,
    filter,
    sort: filters && (o.sort ?? e.dtype !== 'f32'), // f32's eps leaves out next to nothing in any order
    memory: o.memory ?? 48e6,
  };
}

/** [..., D] and [...] as rows. */
function rowsOf({ e, c, targets }: Operands): Operands {
  checkTensors('linearCrossEntropy', [e, c, targets]);
  if (!sameShape(e.shape.slice(0, -1), targets.shape))
    throw new ShapeError(
      `[linearCrossEntropy] targets ${show(targets.shape)} do not match e ${show(e.shape)}; they lack exactly its last axis`,
    );
  return { e: reshape(e, [sizeOf(targets.shape), e.shape.at(-1)!]), c, targets: reshape(targets, [-1]) };
}

/** targets[..., i + shift] at i, `ignore` where there is none. */
function shifted(targets: Tensor, shift: number, ignore: number): Tensor {
  if (!shift) return targets;
  const T = targets.shape.at(-1) ?? 0;
  if (!Number.isInteger(shift) || shift < 0 || shift > T)
    throw new RangeError(`[linearCrossEntropy] shift ${shift} must be a whole number from 0 to ${T}, the targets' last axis`);
  const tail = full([...targets.shape.slice(0, -1), shift], ignore, targets.dtype);
  return concat([narrow(targets, targets.rank - 1, shift, T - shift), tail], -1);
}

/** The op, and its operands after e, c and targets: they go to its gradient too. */
function forward(
  operands: Operands,
  attrs: LinearCrossEntropyAttrs,
  bias?: Tensor,
): { logit: Tensor; lse: Tensor; tiles: Tensor; rest: Tensor[] } {
  const { e, c, targets } = operands;
  const rest = [...(bias ? [bias] : []), ...(attrs.sort ? [orderOf(operands, attrs.ignore, bias)] : [])];
  const [logit, lse, tiles] = applyAll('linearCrossEntropy', attrs, [e, c, targets, ...rest]) as [Tensor, Tensor, Tensor];
  return { logit, lse, tiles, rest };
}

const counts = (targets: Tensor, ignore: number): Tensor => sub(1, cast(equal(targets, ignore), 'f32'));

/**
 * The cross-entropy of softmax(e c^T + bias) against `targets`, and its gradients, without the [N, V] logits: memory O(N + V) instead of
 * O(N V). e [..., D], c [V, D] of the same dtype (a tied embedding gets the gradient added to its own), targets [...] integers in 0..V-1 or
 * `ignoreIndex`; any other target is an error. Logits and sums are f32.
 * @returns f32: one number, or [...] for reduction 'none'.
 */
export function linearCrossEntropy(e: Tensor, c: Tensor, targets: Tensor, options: LinearCrossEntropyOptions = {}): Tensor {
  return linearCrossEntropyWithLse(e, c, targets, options).loss;
}

/**
 * `linearCrossEntropy` with the log-sum-exp of each row's logits, f32 [...], 0 for ignored rows, and the number of rows that count, f32: for a
 * z-loss, weight * sum(lse^2) / max(counted, 1).
 */
export function linearCrossEntropyWithLse(
  e: Tensor,
  c: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): { loss: Tensor; lse: Tensor; counted: Tensor } {
  const { ignoreIndex = -100, shift = 0, reduction = 'mean' } = options;
  checkTensors('linearCrossEntropy', [targets]);
  const wanted = shifted(targets, shift, ignoreIndex);
  const rows = rowsOf({ e, c, targets: wanted });
  const { logit, lse } = forward(rows, attrsOf(rows, options), options.bias);
  const counted = sum(counts(wanted, ignoreIndex));
  return { loss: reduced(reshape(sub(lse, logit), wanted.shape), counted, reduction), lse: reshape(lse, wanted.shape), counted };
}

function reduced(losses: Tensor, counted: Tensor, reduction: 'mean' | 'sum' | 'none'): Tensor {
  if (!['mean', 'sum', 'none'].includes(reduction))
    throw new RangeError(`[linearCrossEntropy] there is no reduction '${reduction}'; use mean, sum or none`);
  if (reduction === 'none') return losses;
  return reduction === 'sum' ? sum(losses) : div(sum(losses), maximum(counted, 1));
}

/** What one holder of classifier rows knows of all rows: the target's logit (0 where another holds it) and its part's log-sum-exp, f32 [...]. */
export interface VocabularyShard {
  logit: Tensor;
  lse: Tensor;
}

/** The share of rows [first, first + c.shape[0]) of a classifier of `total` rows, whose targets are numbered through. */
export function vocabularyShard(
  e: Tensor,
  c: Tensor,
  targets: Tensor,
  shard: { first: number; total: number },
  options: LogitOptions = {},
): VocabularyShard {
  checkTensors('vocabularyShard', [e, c, targets]);
  const V = c.shape[0]!;
  if (!(shard.first >= 0 && shard.first + V <= shard.total))
    throw new RangeError(`[vocabularyShard] rows ${shard.first}..${shard.first + V - 1} are not in a vocabulary of ${shard.total}`);
  const rows = rowsOf({ e, c, targets });
  const { logit, lse } = forward(rows, attrsOf(rows, options, shard), options.bias);
  return { logit: reshape(logit, targets.shape), lse: reshape(lse, targets.shape) };
}

/**
 * The loss from the shares of all shards: across processes, a max- and a sum-reduction of `lse` and a sum-reduction of `logit`. The gradients
 * of each share follow: those of e are to be summed, those of c stay where they are.
 */
export function mergeVocabulary(
  shards: readonly VocabularyShard[],
  targets: Tensor,
  options: Pick<LinearCrossEntropyOptions, 'ignoreIndex' | 'reduction'> = {},
): { loss: Tensor; lse: Tensor } {
  const { ignoreIndex = -100, reduction = 'mean' } = options;
  checkList('mergeVocabulary', 'shards', shards);
  if (shards.length === 0) throw new RangeError('[mergeVocabulary] needs at least one shard');
  const top = stopGradient(shards.map((s) => s.lse).reduce((a, b) => maximum(a, b)));
  const total = shards.map((s) => exp(sub(s.lse, top))).reduce((a, b) => add(a, b));
  const lse = mul(add(top, log(total)), counts(targets, ignoreIndex));
  const logit = shards.map((s) => s.logit).reduce((a, b) => add(a, b));
  return { loss: reduced(sub(lse, logit), sum(counts(targets, ignoreIndex)), reduction), lse };
}

/**
 * The mean loss with its gradients and what the filter did: `skipped`, f32, the share of tiles that were left out of the gradients' products.
 * For measuring; `valueAndGrad` of `linearCrossEntropy` computes the same.
 */
export function linearCrossEntropyGradients(
  e: Tensor,
  c: Tensor,
  targets: Tensor,
  options: LogitOptions = {},
): { loss: Tensor; dE: Tensor; dC: Tensor; dBias: Tensor | undefined; skipped: Tensor } {
  const rows = rowsOf({ e, c, targets });
  const attrs = attrsOf(rows, options);
  const { logit, lse, tiles, rest } = forward(rows, attrs, options.bias);
  const counted = counts(rows.targets, attrs.ignore);
  const d = div(counted, maximum(sum(counted), 1));
  const saved = [rows.e, rows.c, rows.targets, lse, mul(d, -1), d, tiles, ...rest];
  const [dE, dC, dBias, skipped] = applyAll('linearCrossEntropyGrad', attrs, saved);
  const share = mul(sum(skipped!), 1 / skipped!.size);
  return { loss: sum(mul(sub(lse, logit), d)), dE: reshape(dE!, e.shape), dC: dC!, dBias: options.bias && dBias, skipped: share };
}

/** i32 [V]: the classifier's rows by their mean logit over the rows that count. It is linear: c times the mean of e. */
function orderOf({ e, c, targets }: Operands, ignore: number, bias?: Tensor): Tensor {
  const counted = counts(targets, ignore);
  const weights = div(counted, maximum(sum(counted), 1));
  const mean = matmul(reshape(cast(weights, e.dtype), [1, -1]), e);
  const logits = reshape(cast(matmul(c, transpose(mean)), 'f32'), [-1]);
  return argsort(bias ? add(logits, bias) : logits);
}
