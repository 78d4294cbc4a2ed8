/** Encoder and decoder of ViT-VQGAN: patches, fixed 2-D positions, transformer blocks with tanh MLPs. */
import { Block, gridToSequence, Linear, sequenceToGrid, sincosPositions } from '../../../nn/index.ts';
import { add, random, type Tensor } from '../../../tensor/index.ts';
import { patchify, unpatchify } from './patches.ts';
import type { CoderConfig } from './tokenizer.ts';

const blocksOf = (key: random.Key, { width, heads }: CoderConfig, layers: number): Block[] =>
  Array.from({ length: layers }, (_, i) => Block.init(random.foldIn(key, i), { width, heads, activation: 'tanh' }));

export class VitEncoder {
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
  static init(key: random.Key, config: CoderConfig, channels: number): VitEncoder {
    const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const { patch, width, codeDim } = config;
    return new VitEncoder(
      patch,
      Linear.init(a, channels * patch * patch, width),
      blocksOf(b, config, config.layers),
      Linear.init(c, width, codeDim),
    );
  }
  forward(x: Tensor): Tensor {
    const grid = [x.shape[2]! / this.patch, x.shape[3]! / this.patch] as const;
    const patches = this.embed.forward(patchify(x, this.patch));
    let h = add(patches, sincosPositions(grid, patches.shape[2]!));
    for (const block of this.blocks) h = block.forward(h);
    return sequenceToGrid(this.out.forward(h), grid);
  }
}

export class VitDecoder {
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
  static init(key: random.Key, config: CoderConfig, channels: number): VitDecoder {
    const [a, b, c] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
    const { patch, width, codeDim } = config;
    return new VitDecoder(
      patch,
      Linear.init(a, codeDim, width),
      blocksOf(b, config, config.decoderLayers),
      Linear.init(c, width, channels * patch * patch),
    );
  }
  forward(vectors: Tensor): Tensor {
    const grid = vectors.shape.slice(2) as [number, number];
    const embedded = this.embed.forward(gridToSequence(vectors));
    let h = add(embedded, sincosPositions(grid, embedded.shape[2]!));
    for (const block of this.blocks) h = block.forward(h);
    return unpatchify(this.out.forward(h), grid, this.patch);
  }
}
