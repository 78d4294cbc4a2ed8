/** The same loss over whole logits: what cut cross-entropy means, and what its checks compare with. */
import {
  add,
  cast,
  concat,
  crossEntropy,
  div,
  equal,
  full,
  logSumExp,
  matmul,
  maximum,
  mul,
  narrow,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
  transpose,
} from '../../../tensor/index.ts';
import type { CutCrossEntropyConfig } from './config.ts';

/** hidden [..., D], classifier [V, D], targets [...], -100 where a row does not count -> f32. Stores f32 logits [..., V]. */
export function naive(
  hidden: Tensor,
  classifier: Tensor,
  targets: Tensor,
  { softCap, shift, zLoss }: Pick<CutCrossEntropyConfig, 'softCap' | 'shift' | 'zLoss'>,
): Tensor {
  const products = matmul(cast(hidden, 'f32'), transpose(cast(classifier, 'f32')));
  const logits = softCap ? mul(tanh(mul(products, 1 / softCap)), softCap) : products;
  const T = targets.shape.at(-1)!;
  const none = full([...targets.shape.slice(0, -1), shift], -100, targets.dtype);
  const wanted = shift ? concat([narrow(targets, -1, shift, T - shift), none], -1) : targets;
  const counts = sub(1, cast(equal(wanted, -100), 'f32'));
  const losses = add(crossEntropy(logits, wanted), mul(mul(square(logSumExp(logits, -1)), counts), zLoss));
  return div(sum(losses), maximum(sum(counts), 1));
}
