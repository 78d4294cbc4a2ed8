/** The checks of SeiT++'s parts on small images: what they train, at sizes that a processor does in minutes (grey) or a GPU in a minute (colour). */
import type { ImageSet } from '../../../data/index.ts';
import type { ArmsCheck } from './arms-check.ts';
import { fitBudget } from './budget.ts';
import { Config, type MapSizes, presets } from './config.ts';
import type { MtmCheck } from './mtm-check.ts';
import { publishedRatio } from './mtm-ratio.ts';
import type { AdaptCheck } from './token-adapt-check.ts';

/** Fashion-MNIST, 28 x 28 grey: 7 x 7 tokens. CIFAR-10, 32 x 32 colour: 8 x 8. */
export type CheckData = 'fashion' | 'cifar10';

const tokenizers = {
  fashion: Config.parse(presets.fashion).tokenizer,
  cifar10: Config.parse(presets.cifar).tokenizer,
} satisfies Record<CheckData, unknown>;

const maps = { width: 128, heads: 4, headWidth: 32, hidden: 512 } satisfies MapSizes;

/** f and g of width 128, learnt in 1,500 steps of 64 images. Expected: `flip.adapted` at least 0.10 above `flip.mirrored`. */
export function tokenAdaptCheck(data: CheckData): AdaptCheck {
  const tokenizer = tokenizers[data];
  const out = [tokenizer.grid, tokenizer.grid] as const;
  return { tokenizer: { ...tokenizer, epochs: 3 }, maps: { ...maps, out }, steps: 1500, batch: 64, lr: 2e-3 };
}

/** Pre-training on the tokens of all images, then 10 % of the labels. Expected: `pretrained` at least 0.02 above `scratch`. */
export function maskedTokenCheck(data: CheckData): MtmCheck {
  const { codes, grid, ...tokenizer } = tokenizers[data];
  const encoder = { codes, vector: 32, grid: [grid, grid], patch: 1, features: 64, layers: 3, heads: 4 } as const;
  return {
    tokenizer: { ...tokenizer, codes, grid, epochs: 2 },
    mtm: { encoder, decoder: { features: 64, layers: 1, heads: 4, dropout: 0 }, ratio: publishedRatio, dropout: 0.1 },
    labelled: 0.1,
    pretrain: { steps: 3500, batch: 64, lr: 2e-3 },
    finetune: { steps: 500, batch: 100, lr: 2e-3, layerDecay: 0.75, cutmix: 0.5 },
  };
}

/** What may be asked of the check of the arms. */
export interface ArmsOptions {
  /** Of the classifier; default 30. */
  epochs?: number | undefined;
  precision?: Config['precision'];
  /** Least area of random crops of tokens; default 1, none: tokens between tokens are guesses on grids as small as these, and cost 3 points (bench.json). */
  scale?: number | undefined;
  /** Probability of TokenAdapt's affine list, where its maps are learnt and where they are used; default 0. */
  affine?: number | undefined;
  /** Epochs in which the maps are learnt; default 20. */
  mapEpochs?: number | undefined;
}

/**
 * Tokens, pixels in the same bytes, and token-domain augmentation: a ViT of width 128 and 4 layers that reads 7 x 7 tokens one by one. The arm `masked`
 * pre-trains for two thirds of the epochs. Expected:
 * `tokensOverSubset` at least 8 points, `tokensOverDownsampled` at least 0, `bothGain` at least 0.5. The last is one of long training: in 30 epochs
 * the classifier has not learnt its images by heart, and variety only delays it (bench.json).
 */
export function armsCheck(data: CheckData, options: ArmsOptions = {}): ArmsCheck {
  const { epochs = 30, precision = 'f32', scale = 1, affine = 0, mapEpochs = 20 } = options;
  return {
    config: Config.parse({
      tokenizer: { ...tokenizers[data], epochs: 5, batch: 256 },
      crop: 7,
      codec: 'entropy',
      model: { features: 128, layers: 4, heads: 4, stem: { size: 1, stride: 1, padding: 0 }, positions: 'learned' },
      augment: { synonym: 0.25, swap: 0.25, noise: 0.25, color: 0, scale, affine, cutmix: 0.5 },
      tokenAdapt: null,
      recipe: 'seit',
      precision,
      train: { epochs, warmup: 2, batch: 512, lr: 3e-3, weightDecay: 0.05, beta2: 0.98 },
      mtm: {
        patch: 1,
        decoder: { features: 64, layers: 1, heads: 4, dropout: 0 },
        scale,
        affine,
        epochs: (2 / 3) * epochs,
        warmup: 2,
        batch: 512,
        lr: 1.5e-3,
      },
      fineTune: {
        noise: 0.25,
        color: 0,
        scale,
        affine,
        mix: 0.5,
        dropPath: 0,
        epochs: epochs / 3,
        warmup: 1,
        batch: 512,
        lr: 1e-3,
        layerDecay: 0.75,
      },
    }),
    tokenAdapt: { ...maps, epochs: mapEpochs, batch: 256, lr: 3e-3, weightDecay: 0.05, affine },
    color: 0.25,
    patch: 4,
  };
}

/** The same with what the demo chooses for 300 kB. `masked` pre-trains for three quarters of the epochs. */
export function demoCheck(data: CheckData, images: ImageSet): ArmsCheck {
  const config = fitBudget(300_000, images);
  const { epochs } = config.train;
  const mtm = { ...config.mtm, epochs: 0.75 * epochs };
  const fineTune = { ...config.fineTune, epochs: 0.25 * epochs };
  const tokenAdapt = { ...maps, epochs: 5, batch: 64, lr: 2e-3, weightDecay: 0.05, affine: 0.5 };
  return { ...armsCheck(data), config: { ...config, mtm, fineTune }, tokenAdapt };
}
