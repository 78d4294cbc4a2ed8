/** From bytes to a configuration. */
import { BudgetError } from '../../../bytes/index.ts';
import type { CodecTarget } from '../../contracts/codec.ts';
import { Config, type ConfigInput } from './config.ts';
import { storeBytes } from './store-layout.ts';

const who = 'seit-plus-plus';

/** Tokens along a side, finest first: patches of 4 pixels up to images of 64, of 8 above, up to the published 32 x 32 tokens. */
function grids([height, width]: CodecTarget['shape']): { patch: number; grid: number }[] {
  const side = Math.min(256, Math.max(height, width));
  const finest = side <= 64 ? 4 : 8;
  const choices = [1, 1.5, 2, 3, 4].map((times) => {
    const patch = Math.round(finest * times);
    return { patch, grid: Math.max(1, Math.round(side / patch)) };
  });
  return choices.filter(({ grid }, i) => choices.findIndex((other) => other.grid === grid) === i);
}

/** Settings around a grid: a SeiT++ of the published size where the images are large, else the small one. */
function configFor({ patch, grid }: { patch: number; grid: number }, codes: number, width: number): Config {
  const large = grid > 16;
  const input: ConfigInput = {
    tokenizer: { kind: 'conv', patch, grid, codes, codeDim: width >= 32 ? 16 : 8, width, layers: 0, decoderLayers: 1, heads: 1, batch: 64, epochs: 3, reseed: 0.25, lr: 2e-3 },
    crop: grid > 8 ? Math.round(grid * 0.875) : grid,
    codec: 'packed',
    model: { features: 128, layers: 4, heads: 4, stem: large ? { size: 4, stride: 2, padding: 1 } : { size: 1, stride: 1, padding: 0 }, positions: 'learned' },
    augment: { synonym: 0, swap: 0, noise: 0, color: 0, scale: 1, cutmix: 0 },
    train: { epochs: 10, warmup: 0.5, batch: 128, lr: 4e-3, weightDecay: 0.05 },
  };
  return Config.parse(input);
}

/** Every configuration that a budget may buy, best first: more bits per image, then a wider encoder. */
export function candidates(target: CodecTarget): Config[] {
  const all: { config: Config; bits: number }[] = [];
  for (const place of grids(target.shape))
    for (let bitsPerCode = 10; bitsPerCode >= 4; bitsPerCode--)
      for (const width of [64, 32, 16]) all.push({ config: configFor(place, 2 ** bitsPerCode, width), bits: place.grid ** 2 * bitsPerCode });
  return all.sort((a, b) => b.bits - a.bits || b.config.tokenizer.width - a.config.tokenizer.width).map(({ config }) => config);
}

/** The best configuration whose store takes at most `budget` bytes. @throws BudgetError that names the least that works. */
export function fitBudget(budget: number, target: CodecTarget): Config {
  let needed = Number.POSITIVE_INFINITY;
  for (const config of candidates(target)) {
    const bytes = storeBytes(config, target);
    if (bytes <= budget) return config;
    needed = Math.min(needed, bytes);
  }
  throw new BudgetError({ who, budget, needed, because: `${target.size} images, their labels, a codebook and an encoder`, wayOut: 'raise the budget or store fewer images' });
}
