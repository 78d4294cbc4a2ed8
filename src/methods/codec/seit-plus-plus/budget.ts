/** From bytes to a configuration. */
import { BudgetError } from '../../../bytes/index.ts';
import type { CodecTarget } from '../../contracts/codec.ts';
import { Config, small } from './config.ts';
import { storeBytes } from './store-layout.ts';

const who = 'seit-plus-plus';

/** Tokens along a side, finest first: patches of 4 pixels up to images of 64, of 8 above, up to the published 32 x 32 tokens. */
function grids([height, width]: CodecTarget['shape']): { patch: number; grid: number }[] {
  const side = Math.min(256, Math.max(height, width));
  const finest = side <= 64 ? 4 : 8;
  const choices = [1, 1.5, 1.75, 2, 2.25, 3, 4].map((times) => {
    const patch = Math.round(finest * times);
    return { patch, grid: Math.max(1, Math.round(side / patch)) };
  });
  return choices.filter(({ grid }, i) => choices.findIndex((other) => other.grid === grid) === i);
}

/**
 * Bits per code that come before more tokens: 3 x 3 tokens of 256 in 217 kB classify Fashion-MNIST better than 4 x 4 of 16 in 187 kB
 * (81.8 % and 75.7 % after the same 749 steps), 4 x 4 of 512 as well as 5 x 5 of 64 in two thirds of the time.
 */
const enoughBits = 8;

/** Uses of a code in the store below which a larger codebook would learn single patches by heart. */
const usesPerCode = 32;

/** Every configuration that a budget may buy, best first: more bits per image, then a wider encoder. */
export function candidates(target: CodecTarget): Config[] {
  const all: { config: Config; bits: number }[] = [];
  for (const { patch, grid } of grids(target.shape)) {
    const most = Math.max(4, Math.min(10, Math.floor(Math.log2((target.size * grid ** 2) / usesPerCode))));
    for (let bitsPerCode = most; bitsPerCode >= 4; bitsPerCode--)
      for (const width of [64, 32, 16]) {
        const size = { patch, grid, codes: 2 ** bitsPerCode, codeDim: Math.min(16, width / 2), width, size: target.size };
        all.push({ config: Config.parse(small(size)), bits: bitsPerCode * grid ** 2 });
      }
  }
  const rich = ({ config }: { config: Config }): number => Math.min(enoughBits, Math.log2(config.tokenizer.codes));
  return all
    .sort((a, b) => rich(b) - rich(a) || b.bits - a.bits || b.config.tokenizer.width - a.config.tokenizer.width)
    .map(({ config }) => config);
}

/** The best configuration whose store takes at most `budget` bytes. @throws BudgetError that names the least that works. */
export function fitBudget(budget: number, target: CodecTarget): Config {
  let needed = Number.POSITIVE_INFINITY;
  for (const config of candidates(target)) {
    const bytes = storeBytes(config, target);
    if (bytes <= budget) return config;
    needed = Math.min(needed, bytes);
  }
  const because = `${target.size} images of ${target.classes.length} classes, 16 codes and an encoder`;
  throw new BudgetError({ who, budget, needed, because, wayOut: 'raise the budget or store fewer images' });
}
