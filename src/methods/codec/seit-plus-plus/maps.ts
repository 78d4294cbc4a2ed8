/** TokenAdapt's maps where they belong to a tokenizer: learnt after it, stored beside it. */

import type { Relabelling } from '../../../data/tokens/index.ts';
import { Linear } from '../../../nn/index.ts';
import { mul, take, tensor, transpose } from '../../../tensor/index.ts';
import type { MapSizes, TokenizerConfig } from './config.ts';
import { blank } from './records.ts';
import { TokenAdapt, type TokenAdaptConfig, TokenGather, TokenSpread } from './token-adapt.ts';

/** Maps of these sizes for a tokenizer. `crop`: side of the token grid that comes out; it shapes no weight. */
export function mapsConfig(
  { width, heads, headWidth, hidden }: MapSizes,
  { codes, codeDim, grid }: Pick<TokenizerConfig, 'codes' | 'codeDim' | 'grid'>,
  crop = grid,
): TokenAdaptConfig {
  return { codes, vector: codeDim, grid: [grid, grid], out: [crop, crop], width, heads, headWidth, hidden };
}

/** The structure of the maps that go with a tokenizer, if any do. */
export function blankMaps(
  { maps, config }: { maps?: MapSizes | undefined; config: Parameters<typeof mapsConfig>[1] },
  crop?: number,
): TokenAdapt | undefined {
  return maps && blank((key) => TokenAdapt.init(key, mapsConfig(maps, config, crop)));
}

/**
 * The maps as they fit a store. Learning shows f vectors of unit length, a store holds them sqrt(d_c) long: f's first weights make up for it. g
 * names codes by their numbers of learning: its head takes the numbers of the store.
 */
export function mapsOfStore({ f, g, grid, out }: TokenAdapt, { oldOf }: Relabelling): TokenAdapt {
  const order = tensor(Int32Array.from(oldOf));
  const enter = new Linear(mul(f.enter.weight, 1 / Math.sqrt(f.enter.weight.shape[0]!)), f.enter.bias);
  const head = new Linear(transpose(take(transpose(g.head.weight), order)), g.head.bias && take(g.head.bias, order));
  return new TokenAdapt(new TokenSpread(enter, f.block, f.norm, f.spread), new TokenGather(g.gather, g.block, g.norm, head), { grid, out });
}
