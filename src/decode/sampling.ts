/** The choice of the next token from its logits. */
import {
  add,
  argmax,
  cast,
  cumsum,
  div,
  greaterEqual,
  topK as largest,
  less,
  log,
  min,
  minimum,
  narrow,
  neg,
  random,
  softmax,
  sub,
  type Tensor,
  where,
} from '../tensor/index.ts';

export interface SamplingOptions {
  /** Divides the logits; 0 (the default) takes the most likely token. */
  temperature?: number;
  /** Only the k most likely tokens. */
  topK?: number;
  /** Only the most likely tokens that together reach this probability (Holtzman et al. 2020, arXiv 1904.09751), among those that topK leaves. */
  topP?: number;
}

/** @throws RangeError that names the option, its value and what is allowed. */
export function checkSampling({ temperature = 0, topK, topP }: SamplingOptions): void {
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    throw new RangeError(`[sampling] temperature ${temperature} must be 0 (greedy) or more`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new RangeError(`[sampling] topK ${topK} must be a whole number from 1 on`);
  if (topP !== undefined && !(topP > 0 && topP <= 1)) throw new RangeError(`[sampling] topP ${topP} must lie in (0, 1]`);
}

/**
 * logits [B, V] -> tokens i32 [B]. The draw is argmax(logits / temperature + Gumbel noise of `key`), which has the probabilities of the softmax;
 * the same key gives the same tokens.
 */
export function sample(logits: Tensor, key: random.Key, options: SamplingOptions = {}): Tensor {
  const { temperature = 0, topK, topP } = options;
  if (temperature === 0) return argmax(logits, -1);
  const x = div(cast(logits, 'f32'), temperature);
  const u = minimum(add(random.uniform(key, x.shape), 2 ** -25), 1 - 2 ** -24); // never 0, and not rounded to 1: both are infinite noise
  const noisy = sub(x, log(neg(log(u))));
  const limited = (topK !== undefined && topK < x.shape[1]!) || (topP !== undefined && topP < 1);
  return argmax(limited ? where(greaterEqual(x, leastKept(x, topK, topP)), noisy, Number.NEGATIVE_INFINITY) : noisy, -1);
}

/** The lowest logit that may still be drawn: [B, 1]. */
function leastKept(x: Tensor, topK = x.shape[1]!, topP = 1): Tensor {
  const k = Math.min(topK, x.shape[1]!);
  const sorted = largest(x, k).values;
  if (topP === 1) return narrow(sorted, 1, k - 1, 1);
  const p = softmax(sorted);
  const before = sub(cumsum(p, 1), p); // the probability of the tokens that come first; 0 for the most likely one
  return min(where(less(before, topP), sorted, Number.POSITIVE_INFINITY), 1, { keepDims: true });
}
