/** Everything that can be chosen about SeiT++. The defaults are the published ImageNet-size configuration; `presets` are for small images. */
import { z } from 'zod';

const share = z.number().min(0).max(1);
/** Blocks one upon another. The bound is what an untrusted file can ask for: a model is laid out before its tensors are looked for. */
const depth = (least: number) => z.int().min(least).max(1024);

/** Of what TokenAdapt does to an image beside flips and crops, in the phase that has it. */
const affine = share.default(0.5).describe('an image behind TokenAdapt is turned, moved and sheared, each with probability a half');

/** Pixels <-> code indices. Widths of the published tokenizer are those of ViT-VQGAN "small" (Yu et al. 2022, arXiv 2110.04627). */
const Tokenizer = z.object({
  kind: z.enum(['vit', 'conv']).default('vit').describe('transformer over patches, or convolutions (fast on a CPU)'),
  patch: z.int().min(1).max(32).default(8).describe('side of a patch in pixels: one token'),
  grid: z.int().min(1).max(64).default(32).describe('tokens along a side of the image; images are resized to grid x patch pixels'),
  codes: z.int().min(2).max(65536).default(391).describe('K, the size of the codebook'),
  codeDim: z.int().min(2).max(512).default(32).describe('d_c, numbers per code'),
  width: z.int().min(4).default(512).describe('features inside encoder and decoder'),
  layers: depth(0).default(8).describe('transformer blocks, or residual convolutions, of the encoder, which is stored'),
  decoderLayers: depth(0).default(8).describe('the same of the decoder, which is not stored'),
  heads: z.int().min(1).default(8).describe('attention heads (vit)'),
  epochs: z.number().positive().default(5),
  batch: z.int().min(1).default(64).describe('images of a step'),
  lr: z.number().positive().default(1e-3),
  weightDecay: z.number().min(0).default(1e-4),
  beta: z.number().min(0).default(0.25).describe('weight of the commitment loss'),
  reseed: z.number().positive().default(1).describe('epochs after which a code that was not used is replaced'),
});

/** The classifier that reads stored tokens. */
const Model = z.object({
  features: z.int().min(4).default(768),
  layers: depth(1).default(12),
  heads: z.int().min(1).default(12),
  stem: z
    .object({ size: z.int().min(1).default(4), stride: z.int().min(1).default(2), padding: z.int().min(0).default(1) })
    .prefault({})
    .describe('the Stem-Adapter: a convolution over the grid of code vectors'),
  positions: z.enum(['learned', 'sincos']).default('sincos'),
  dropPath: share.default(0),
});

/** Token-domain augmentation, as probabilities. */
const Augment = z.object({
  synonym: share.default(0.25).describe('an image has tokens replaced by near codes, each with the same probability'),
  synonyms: z.int().min(1).default(5).describe('nearest codes that may replace a token'),
  swap: share.default(0.25).describe('an image has two squares swapped'),
  noise: share.default(0.5).describe('a batch gets Emb-Noise'),
  color: share.default(0.25).describe('a batch gets ColorAdapt'),
  scale: share.default(0.2).describe('least area that random-resized-crop keeps'),
  affine,
  cutmix: share.default(1).describe('a batch is mixed by CutMix, lambda ~ Beta(1, 1)'),
});

/** What TokenAdapt's maps f and g are built from. */
export const MapSizes = z.object({
  width: z.int().min(4).default(384),
  heads: z.int().min(1).default(6),
  headWidth: z.int().min(1).default(64),
  hidden: z.int().min(1).default(1536).describe('features inside the MLPs'),
});
export type MapSizes = z.output<typeof MapSizes>;

/** TokenAdapt: maps learnt after the tokenizer, stored with it. How the published ones were trained is not known. */
const TokenAdapt = MapSizes.extend({
  epochs: z.number().positive().default(5),
  batch: z.int().min(1).default(64).describe('images of a step'),
  lr: z.number().positive().default(1e-3),
  weightDecay: z.number().min(0).default(0.05),
  affine,
});

/** Masked token modelling, the pre-training of recipe `mtm`. Widths and depth of the encoder are those of `model`. */
const Mtm = z.object({
  patch: z.int().min(1).default(2).describe('side of a patch in tokens; patches do not overlap'),
  vector: z.int().min(1).default(32).describe("numbers of a code's learned vector"),
  decoder: z
    .object({
      features: z.int().min(1).default(512),
      layers: depth(0).default(4),
      heads: z.int().min(1).default(16),
      dropout: z.number().min(0).lt(1).default(0.1),
    })
    .prefault({}),
  ratio: z
    .object({
      mean: share.default(0.45),
      sd: z.number().positive().default(0.25),
      low: z.number().min(0).lt(1).default(0.4),
      high: share.default(1),
    })
    .refine(({ low, high }) => low < high, { path: ['low'], message: 'the lowest ratio has to be under the highest' })
    .prefault({})
    .describe('share of the patches that a batch masks: a normal law cut off at low and high; low is dropped'),
  dropout: z.number().min(0).lt(1).default(0.1).describe('of the token vectors, in fine-tuning too'),
  scale: share.default(0.2).describe('least area that random-resized-crop keeps'),
  affine,
  epochs: z.number().positive().default(400),
  warmup: z.number().min(0).default(40).describe('epochs of linear warm-up'),
  batch: z.int().min(1).default(4096),
  lr: z.number().positive().default(1.5e-4).describe('learning rate per 256 images of a batch'),
  minLr: z.number().min(0).default(0),
  weightDecay: z.number().min(0).default(0.05),
  beta2: z.number().min(0).max(0.9999).default(0.95),
});

/** Fine-tuning after masked token modelling. */
const FineTune = z.object({
  noise: share.default(0.75).describe('a batch gets Emb-Noise'),
  color: share.default(0.25).describe('a batch gets ColorAdapt'),
  scale: share.default(0.08).describe('least area that random-resized-crop keeps'),
  affine,
  mix: share.default(1).describe('a half batch is mixed by CutMix, or, behind TokenAdapt, as often by Mixup'),
  mixup: share.default(0.8).describe('parameter of the Beta law of Mixup; 0: no Mixup'),
  dropPath: z.number().min(0).lt(1).default(0.1),
  layerDecay: z.number().positive().max(1).default(0.65).describe('factor on the learning rate per layer towards the stem'),
  epochs: z.number().positive().default(100),
  warmup: z.number().min(0).default(5).describe('epochs of linear warm-up'),
  batch: z.int().min(1).default(1024),
  lr: z.number().positive().default(1e-3).describe('learning rate of a batch of 64; it goes by the square root of the batch'),
  minLr: z.number().min(0).default(1e-6),
  weightDecay: z.number().min(0).default(0.1),
});

/** Supervised training (SeiT's recipe). */
const Train = z.object({
  epochs: z.number().positive().default(300),
  warmup: z.number().min(0).default(5).describe('epochs of linear warm-up'),
  batch: z.int().min(1).default(1024),
  lr: z.number().positive().default(7.5e-4).describe('learning rate per 512 images of a batch'),
  minLr: z.number().min(0).default(1e-5),
  weightDecay: z.number().min(0).default(0.1),
  beta2: z.number().min(0).max(0.9999).default(0.999).describe('memory of the second moment of AdamW'),
  smoothing: share.default(0.1),
});

export const Config = z
  .object({
    tokenizer: Tokenizer.prefault({}),
    crop: z.int().min(1).max(64).default(28).describe('side of the token grid that the classifier sees'),
    codec: z.enum(['escape8', 'packed', 'entropy']).default('escape8').describe('how indices become bytes'),
    model: Model.prefault({}),
    augment: Augment.prefault({}),
    tokenAdapt: TokenAdapt.nullable().prefault({}).describe('geometric augmentation of tokens by learned maps; null: none'),
    recipe: z
      .enum(['seit', 'mtm'])
      .default('mtm')
      .describe('supervised (train), or masked token modelling (mtm), then fine-tuning (fineTune)'),
    precision: z
      .enum(['f32', 'bf16'])
      .default('f32')
      .describe('what classifiers compute in while they learn; parameters stay f32, and bf16 is for GPUs'),
    train: Train.prefault({}),
    mtm: Mtm.prefault({}),
    fineTune: FineTune.prefault({}),
  })
  .refine(({ crop, tokenizer }) => crop <= tokenizer.grid, { path: ['crop'], message: 'a crop cannot be larger than the grid' })
  .refine(({ recipe, crop, mtm }) => recipe !== 'mtm' || crop % mtm.patch === 0, {
    path: ['mtm', 'patch'],
    message: 'patches have to divide the crop',
  })
  .refine(({ codec, tokenizer }) => codec !== 'escape8' || tokenizer.codes <= 510, {
    path: ['codec'],
    message: 'escape8 takes at most 510 codes',
  });

export type Config = z.output<typeof Config>;
export type ConfigInput = z.input<typeof Config>;
export type TokenizerConfig = Config['tokenizer'];

/** Side in pixels that images are resized to. */
export const imageSide = ({ grid, patch }: Pick<TokenizerConfig, 'grid' | 'patch'>): number => grid * patch;

/** What a configuration for small images and short training is made from. */
export interface SmallSize {
  patch: number;
  grid: number;
  codes?: number;
  codeDim?: number;
  width?: number;
  /** Images that there are to train from. */
  size?: number;
}

/** What training is shown, however few images there are: patches to the tokenizer, images to the classifier. */
const shown = { patches: 6_000_000, images: 240_000 };

const none = { synonym: 0, swap: 0, noise: 0 };
const light = { synonym: 0.25, swap: 0.25, noise: 0.25 };

/** An overlapping stem that leaves about 9 positions of a small grid: as good as more, and a third of the work. */
function stemFor(grid: number): { size: number; stride: number; padding: number } {
  if (grid < 5) return { size: 3, stride: 1, padding: 1 };
  return { size: grid < 6 ? 3 : 4, stride: 2, padding: 1 };
}

/**
 * A configuration for small images: a convolutional tokenizer whose encoder takes a few KiB, and a ViT of 0.6 M parameters whose stem
 * overlaps. Measured on Fashion-MNIST; parse it with `Config`.
 */
export function small({ patch, grid, codes = 256, codeDim = 16, width = 64, size = 20_000 }: SmallSize) {
  const epochs = (images: number): number => Math.min(100, Math.max(1, Math.round(images / size)));
  const batch = Math.max(8, Math.min(64, 2 ** Math.floor(Math.log2(size / 32))));
  const crop = grid > 8 ? Math.round(grid * 0.875) : grid;
  return {
    tokenizer: {
      kind: 'conv',
      patch,
      grid,
      codes,
      codeDim,
      width,
      layers: 0,
      decoderLayers: 1,
      heads: 1,
      epochs: epochs(shown.patches / grid ** 2),
      batch,
      lr: 3e-3,
      weightDecay: 1e-4,
      reseed: 0.25,
    },
    crop,
    codec: 'entropy',
    model: {
      features: 128,
      layers: 3,
      heads: 4,
      stem: stemFor(grid),
      positions: 'learned',
    },
    // Measured: as good with it as without at 10 epochs; what is shown more often needs the variety.
    augment: { ...(epochs(shown.images) > 12 ? light : none), color: 0, scale: 1, cutmix: 0 },
    tokenAdapt: null,
    recipe: 'seit',
    train: { epochs: epochs(shown.images), warmup: 0.15, batch, lr: 8e-3, weightDecay: 0.05, beta2: 0.98 },
    mtm: {
      patch: crop > 8 && crop % 2 === 0 ? 2 : 1,
      decoder: { features: 64, layers: 1, heads: 4, dropout: 0 },
      scale: 1,
      epochs: epochs(shown.images),
      warmup: 0.15,
      batch,
      lr: 8e-3,
    },
    fineTune: { noise: 0, color: 0, scale: 1, mix: 0.5, epochs: epochs(shown.images / 4), warmup: 0.15, batch, lr: 2e-3, layerDecay: 0.75 },
  } as const satisfies ConfigInput;
}

/** Configurations for image sets of tens of thousands of small images; parse them with `Config`. */
export const presets = {
  /** 28 x 28 grey: 49 tokens. */
  fashion: small({ patch: 4, grid: 7 }),
  /** 32 x 32 colour: 64 tokens, the classifier sees 7 x 7 of them. */
  cifar: { ...small({ patch: 4, grid: 8, size: 50_000 }), crop: 7 },
} as const satisfies Record<string, ConfigInput>;
