/** Encoder and decoder of ViT-VQGAN: patches, fixed 2-D positions, transformer blocks with tanh MLPs. */
import { Block, gridToSequence, Linear, sequenceToGrid, sincosPositions } from '../../../nn/index.ts';
import { add, random, type Tensor } from '../../../tensor/index.ts';
import { patchify, unpatchify } from './patches.ts';
import type { CoderConfig } from './tokenizer.ts';

const blocksOf = (key: random.Key, { width, heads }: CoderConfig, layers: number): Block[] =>
  Array.from({ length: layers }, (_, i) => Block.init(random.foldIn(key, i), { width, heads, activation: 'tanh' }));

/** What both are made of: transformer blocks between two linear maps, over the cells of a grid. */
class VitCoder {
  readonly patch: number;
  readonly embed: Linear;
  readonly blocks: Block[];
  readonly out: Linear;
  constructor(patch: number, embed: Linear, blocks: Block[], out: Linear) {
    this.patch = patch;
    this.embed = embed;
    this.blocks = blocks;
    this.out = out;
  }
  /** [B, H*W, in] -> [B, H*W, out]. */
  protected sequence(x: Tensor, grid: readonly [number, number]): Tensor {
    const embedded = this.embed.forward(x);
    let h = add(embedded, sincosPositions(grid, embedded.shape[2]!));
    for (const block of this.blocks) h = block.forward(h);
    return this.out.forward(h);
  }
}

export class VitEncoder extends VitCoder {
  static init(key: random.Key, config: CoderConfig, channels: number): VitEncoder {
    const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const { patch, width, codeDim, layers } = config;
    const blocks = blocksOf(b, config, layers);
    return new VitEncoder(patch, Linear.init(a, channels * patch * patch, width), blocks, Linear.init(c, width, codeDim));
  }
  /** [B, C, H, W] -> [B, codeDim, H / patch, W / patch]. */
  forward(x: Tensor): Tensor {
    const grid = [x.shape[2]! / this.patch, x.shape[3]! / this.patch] as const;
    return sequenceToGrid(this.sequence(patchify(x, this.patch), grid), grid);
  }
}

export class VitDecoder extends VitCoder {
  static init(key: random.Key, config: CoderConfig, channels: number): VitDecoder {
    const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const { patch, width, codeDim, decoderLayers } = config;
    const blocks = blocksOf(b, config, decoderLayers);
    return new VitDecoder(patch, Linear.init(a, codeDim, width), blocks, Linear.init(c, width, channels * patch * patch));
  }
  /** [B, codeDim, H, W] -> [B, C, H * patch, W * patch]. */
  forward(vectors: Tensor): Tensor {
    const grid = vectors.shape.slice(2) as [number, number];
    return unpatchify(this.sequence(gridToSequence(vectors), grid), grid, this.patch);
  }
}
