/**
 * Models are plain trees: classes whose fields are tensors, numbers and other models. A layer is made by a static `init` from a random key
 * and is called with `.forward`; nothing is registered anywhere.
 */
import {
  add,
  broadcastTo,
  cast,
  conv2d,
  convTranspose2d,
  embedding,
  layerNorm,
  matmul,
  type random,
  reshape,
  rmsNorm,
  type Shape,
  type Tensor,
  transpose,
} from '../tensor/index.ts';
import { onesParameter, truncatedNormal, uniformParameter, zerosParameter } from './init.ts';

/** y = x W + b. weight [in, out], bias [out]. */
export class Linear {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  constructor(weight: Tensor, bias?: Tensor) {
    this.weight = weight;
    this.bias = bias;
  }
  /** Truncated normal of standard deviation `std` (default 1/sqrt(in)), zero bias. */
  static init(key: random.Key, inFeatures: number, outFeatures: number, options: { bias?: boolean; std?: number } = {}): Linear {
    const std = options.std ?? 1 / Math.sqrt(inFeatures);
    return new Linear(
      truncatedNormal(key, [inFeatures, outFeatures], std),
      options.bias === false ? undefined : zerosParameter([outFeatures]),
    );
  }
  /** x [..., in] -> [..., out]. */
  forward(x: Tensor): Tensor {
    const y = matmul(x, this.weight);
    return this.bias ? add(y, cast(broadcastTo(this.bias, y.shape), y.dtype)) : y; // widened last: its gradient is summed in f32
  }
}

/** Layer normalisation over the last axis, with gain and bias. */
export class LayerNorm {
  readonly gain: Tensor;
  readonly bias: Tensor;
  readonly eps: number;
  constructor(gain: Tensor, bias: Tensor, eps: number) {
    this.gain = gain;
    this.bias = bias;
    this.eps = eps;
  }
  static init(features: number, eps = 1e-6): LayerNorm {
    return new LayerNorm(onesParameter([features]), zerosParameter([features]), eps);
  }
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.gain, this.bias, this.eps);
  }
}

/** Root-mean-square normalisation over the last axis, with gain. */
export class RmsNorm {
  readonly gain: Tensor;
  readonly eps: number;
  constructor(gain: Tensor, eps: number) {
    this.gain = gain;
    this.eps = eps;
  }
  static init(features: number, eps = 1e-6): RmsNorm {
    return new RmsNorm(onesParameter([features]), eps);
  }
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.gain, this.eps);
  }
}

/** A table of vectors. table [count, features]. */
export class Embedding {
  readonly table: Tensor;
  constructor(table: Tensor) {
    this.table = table;
  }
  static init(key: random.Key, count: number, features: number, std = 0.02): Embedding {
    return new Embedding(truncatedNormal(key, [count, features], std));
  }
  /** ids of any shape -> [...ids, features]. */
  forward(ids: Tensor): Tensor {
    return embedding(this.table, ids);
  }
}

interface Movement {
  stride?: number;
  padding?: number;
}
/** A kernel's weight and bias [out], and how it moves. */
class Convolution {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly stride: number;
  readonly padding: number;
  constructor(weight: Tensor, bias: Tensor, stride: number, padding: number) {
    this.weight = weight;
    this.bias = bias;
    this.stride = stride;
    this.padding = padding;
  }
}
/** What a new one is made of: a weight uniform within +-1 / sqrt(inChannels k k), no bias. */
function drawn(
  key: random.Key,
  weight: readonly [number, number, number, number],
  [inChannels, outChannels]: readonly [number, number],
  { stride = 1, padding = 0 }: Movement,
): ConstructorParameters<typeof Convolution> {
  const bound = 1 / Math.sqrt(inChannels * weight[2] * weight[3]);
  return [uniformParameter(key, weight, bound), zerosParameter([outChannels]), stride, padding];
}

/** 2-D convolution. weight [out, in, k, k], bias [out]. */
export class Conv2d extends Convolution {
  static init(key: random.Key, inChannels: number, outChannels: number, kernel: number, options: Movement = {}): Conv2d {
    return new Conv2d(...drawn(key, [outChannels, inChannels, kernel, kernel], [inChannels, outChannels], options));
  }
  /** x [B, in, H, W] -> [B, out, H', W']. */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, { stride: this.stride, padding: this.padding });
  }
}

/** Transposed 2-D convolution. weight [in, out, k, k], bias [out]. */
export class ConvTranspose2d extends Convolution {
  static init(key: random.Key, inChannels: number, outChannels: number, kernel: number, options: Movement = {}): ConvTranspose2d {
    return new ConvTranspose2d(...drawn(key, [inChannels, outChannels, kernel, kernel], [inChannels, outChannels], options));
  }
  /** x [B, in, H, W] -> [B, out, (H-1)*stride - 2*padding + k, ...]. */
  forward(x: Tensor): Tensor {
    return convTranspose2d(x, this.weight, this.bias, { stride: this.stride, padding: this.padding });
  }
}

/** [B, C, H, W] -> [B, H*W, C]: a grid as a sequence in raster order. */
export const gridToSequence = (x: Tensor): Tensor => transpose(reshape(x, [x.shape[0]!, x.shape[1]!, -1]));
/** [B, H*W, C] -> [B, C, H, W]. */
export function sequenceToGrid(x: Tensor, [height, width]: readonly [number, number] | Shape): Tensor {
  return reshape(transpose(x), [x.shape[0]!, x.shape[2]!, height!, width!]);
}
