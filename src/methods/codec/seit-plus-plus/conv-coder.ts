/** Encoder and decoder that work patch by patch, with residual convolutions between neighbours: one matrix product per layer. */
import { Conv2d, gridToSequence, LayerNorm, Linear, sequenceToGrid } from '../../../nn/index.ts';
import { add, gelu, random, type Tensor } from '../../../tensor/index.ts';
import { patchify, unpatchify } from './patches.ts';
import type { CoderConfig } from './tokenizer.ts';

/** x + conv3x3(gelu(norm x)) on a grid kept as a sequence [B, h*w, width]. */
class Residual {
  readonly norm: LayerNorm;
  readonly conv: Conv2d;
  constructor(norm: LayerNorm, conv: Conv2d) {
    this.norm = norm;
    this.conv = conv;
  }
  static init(key: random.Key, width: number): Residual {
    return new Residual(LayerNorm.init(width), Conv2d.init(key, width, width, 3, { padding: 1 }));
  }
  forward(x: Tensor, grid: readonly [number, number]): Tensor {
    const y = this.conv.forward(sequenceToGrid(gelu(this.norm.forward(x)), grid));
    return add(x, gridToSequence(y));
  }
}

const residuals = (key: random.Key, width: number, layers: number): Residual[] =>
  Array.from({ length: layers }, (_, i) => Residual.init(random.foldIn(key, i), width));

/** Two linear layers on each patch, residual convolutions, a linear layer to the code. */
export class ConvEncoder {
  readonly patch: number;
  readonly embed: Linear;
  readonly mix: Linear;
  readonly blocks: Residual[];
  readonly out: Linear;
  constructor(patch: number, embed: Linear, mix: Linear, blocks: Residual[], out: Linear) {
    this.patch = patch;
    this.embed = embed;
    this.mix = mix;
    this.blocks = blocks;
    this.out = out;
  }
  static init(key: random.Key, config: CoderConfig, channels: number): ConvEncoder {
    const [a, b, c, d] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
    const { patch, width, codeDim } = config;
    return new ConvEncoder(
      patch,
      Linear.init(a, channels * patch * patch, width),
      Linear.init(b, width, width),
      residuals(c, width, config.layers),
      Linear.init(d, width, codeDim),
    );
  }
  forward(x: Tensor): Tensor {
    const grid = [x.shape[2]! / this.patch, x.shape[3]! / this.patch] as const;
    let h = this.embed.forward(patchify(x, this.patch));
    h = add(h, this.mix.forward(gelu(h)));
    for (const block of this.blocks) h = block.forward(h, grid);
    return sequenceToGrid(this.out.forward(gelu(h)), grid);
  }
}

/** The encoder, mirrored. */
export class ConvDecoder {
  readonly patch: number;
  readonly embed: Linear;
  readonly blocks: Residual[];
  readonly mix: Linear;
  readonly out: Linear;
  constructor(patch: number, embed: Linear, blocks: Residual[], mix: Linear, out: Linear) {
    this.patch = patch;
    this.embed = embed;
    this.blocks = blocks;
    this.mix = mix;
    this.out = out;
  }
  static init(key: random.Key, config: CoderConfig, channels: number): ConvDecoder {
    const [a, b, c, d] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
    const { patch, width, codeDim } = config;
    return new ConvDecoder(
      patch,
      Linear.init(a, codeDim, width),
      residuals(b, width, config.decoderLayers),
      Linear.init(c, width, width),
      Linear.init(d, width, channels * patch * patch),
    );
  }
  forward(vectors: Tensor): Tensor {
    const grid = vectors.shape.slice(2) as [number, number];
    let h = this.embed.forward(gridToSequence(vectors));
    for (const block of this.blocks) h = block.forward(h, grid);
    h = add(h, this.mix.forward(gelu(h)));
    return unpatchify(this.out.forward(gelu(h)), grid, this.patch);
  }
}
