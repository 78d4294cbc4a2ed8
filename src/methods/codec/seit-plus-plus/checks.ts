/** The checks of SeiT++'s parts on 28 x 28 grey images, at a size that one CPU core does in minutes. */
import type { ImageSet } from '../../../data/index.ts';
import type { Run } from '../../contracts/run.ts';
import { Config, presets } from './config.ts';
import { checkMtm, type MtmFigures } from './mtm-check.ts';
import { publishedRatio } from './mtm-ratio.ts';
import { type AdaptFigures, checkTokenAdapt } from './token-adapt-check.ts';

const { tokenizer } = Config.parse(presets.fashion);
const { codes, grid } = tokenizer;

/** f and g of width 128, learnt in 1,500 steps of 64 images. Expected: `flip.adapted` at least 0.10 above `flip.mirrored`. */
export function tokenAdaptCheck(images: ImageSet, test: ImageSet, run: Run): Promise<AdaptFigures> {
  const maps = { width: 128, heads: 4, headWidth: 32, hidden: 512, out: [grid, grid] } as const;
  return checkTokenAdapt(images, test, { tokenizer: { ...tokenizer, epochs: 3 }, maps, steps: 1500, batch: 64, lr: 2e-3 }, run);
}

/** Pre-training on the tokens of all images, then 10 % of the labels. Expected: `pretrained` at least 0.02 above `scratch`. */
export function maskedTokenCheck(images: ImageSet, test: ImageSet, run: Run): Promise<MtmFigures> {
  const encoder = { codes, vector: 32, grid: [grid, grid], patch: 1, features: 64, layers: 3, heads: 4 } as const;
  return checkMtm(
    images,
    test,
    {
      tokenizer: { ...tokenizer, epochs: 2 },
      mtm: { encoder, decoder: { features: 64, layers: 1, heads: 4, dropout: 0 }, ratio: publishedRatio, dropout: 0.1 },
      labelled: 0.1,
      pretrain: { steps: 3500, batch: 64, lr: 2e-3 },
      finetune: { steps: 500, batch: 100, lr: 2e-3, layerDecay: 0.75, cutmix: 0.5 },
    },
    run,
  );
}
