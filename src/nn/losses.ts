/** Mean losses over a batch. */
import {
  add,
  cast,
  crossEntropy,
  div,
  greaterEqual,
  less,
  logSumExp,
  maximum,
  mean,
  mul,
  reshape,
  softCrossEntropy,
  square,
  sub,
  sum,
  type Tensor,
} from '../tensor/index.ts';

/**
 * Mean cross-entropy over the rows whose label is in 0..C-1. logits [..., C], labels [...] integers.
 * smoothing e: targets (1 - e) onehot + e/C (Szegedy et al. 2016).
 */
export function classificationLoss(logits: Tensor, labels: Tensor, smoothing = 0): Tensor {
  const losses = crossEntropy(logits, labels);
  const C = logits.shape.at(-1)!;
  const inside = mul(cast(greaterEqual(labels, 0), 'f32'), cast(less(labels, C), 'f32'));
  const counted = maximum(sum(inside), 1);
  const hard = div(sum(losses), counted);
  if (smoothing === 0) return hard;
  const f = cast(logits, 'f32');
  const uniform = sub(logSumExp(f, -1), mean(f, -1));
  return add(mul(hard, 1 - smoothing), mul(div(sum(mul(uniform, inside)), counted), smoothing));
}

/** Mean cross-entropy against target distributions [..., C]. */
export const softTargetLoss = (logits: Tensor, targets: Tensor): Tensor => mean(softCrossEntropy(logits, targets));

/** Mean of (a - b)^2 over all elements; b is brought to the shape of a. */
export const meanSquaredError = (a: Tensor, b: Tensor): Tensor => mean(square(sub(a, reshape(b, a.shape))));
