/** Does TokenAdapt know what a transformed image's codes are? Compared with doing the same to the grid of codes. */
import type { ImageSet } from '../../../data/index.ts';
import { initialize } from '../../../nn/index.ts';
import {
  broadcastTo,
  cast,
  compile,
  disposeTree,
  equal,
  flip,
  mapTree,
  mean,
  random,
  slice,
  type Tensor,
  tensor,
} from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { pixelsOf, shortTokenizer, trainShort } from './check-run.ts';
import { imageSide, type TokenizerConfig } from './config.ts';
import { toInput } from './pixels.ts';
import { applyTokenAdapt, TokenAdapt, type TokenAdaptConfig } from './token-adapt.ts';
import { applyGeometry, drawGeometry, type GeometryConfig, noGeometry, publishedGeometry } from './token-adapt-params.ts';
import { adaptExample, adaptState, adaptStep } from './token-adapt-train.ts';
import { gridToCodes } from './tokens.ts';

export interface AdaptCheck {
  tokenizer: TokenizerConfig;
  maps: Pick<TokenAdaptConfig, 'width' | 'heads' | 'headWidth' | 'hidden' | 'out'>;
  geometry?: GeometryConfig;
  steps: number;
  batch: number;
  lr: number;
}

/** Shares of tokens of test images whose code is that of the transformed image. */
export interface AdaptFigures {
  /** Mirrored images: by TokenAdapt, and by mirroring the grid of codes. */
  flip: { adapted: number; mirrored: number };
  /** Images under the geometry of training: by TokenAdapt, and by sampling the code vectors and taking the nearest code. */
  any: { adapted: number; sampled: number };
}

/** Learns a tokenizer and f and g from `images`, and measures them on the first 1,000 of `test`. */
export async function checkTokenAdapt(images: ImageSet, test: ImageSet, check: AdaptCheck, run: Run): Promise<AdaptFigures> {
  const { tokenizer: config, maps, geometry = publishedGeometry, ...recipe } = check;
  const tokenizer = await shortTokenizer(images, config, run);
  const grid = [config.grid, config.grid] as const;
  const prepare = (pixels: Tensor): Tensor => toInput(pixels, imageSide(config), images.shape[2]);
  const { model } = await trainShort(
    {
      what: 'TokenAdapt',
      state: () =>
        adaptState(initialize((key) => TokenAdapt.init(key, { ...maps, codes: config.codes, vector: config.codeDim, grid }), run.seed)),
      step: adaptStep({ tokenizer, geometry, prepare }),
      size: images.size,
      prepare: (indices) => pixelsOf(images, indices),
      ...recipe,
    },
    run,
  );

  const agree = (a: Tensor, b: Tensor): Tensor => mean(cast(equal(a, b), 'f32'));
  const measure = compile((pixels: Tensor, key: random.Key) => {
    const x = prepare(pixels);
    const [B, [h, w]] = [x.shape[0]!, maps.out];
    const drawn = drawGeometry(key, B, grid, geometry);
    const any = adaptExample(tokenizer, x, drawn, maps.out);
    // whole tokens, so that mirroring the grid is not blamed for a resize
    const mirror = { ...drawGeometry(key, B, grid, { ...noGeometry, flip: 1 }), boxes: broadcastTo(tensor([[0, 0, h, w]]), [B, 4]) };
    const flipped = adaptExample(tokenizer, x, mirror, maps.out);
    return {
      flip: {
        adapted: agree(applyTokenAdapt(model, flipped.vectors, mirror), flipped.targets),
        mirrored: agree(slice(flip(tokenizer.tokenize(x), 2), null, [0, h], [0, w]), flipped.targets),
      },
      any: {
        adapted: agree(applyTokenAdapt(model, any.vectors, drawn), any.targets),
        sampled: agree(gridToCodes(applyGeometry(any.vectors, drawn, grid, maps.out), tokenizer.codebook), any.targets),
      },
    };
  });
  using pixels = await pixelsOf(
    test,
    Array.from({ length: Math.min(1000, test.size) }, (_, i) => i),
  );
  const figures = measure(pixels, random.key(run.seed + 1));
  const numbers = mapTree(figures, (t) => t.item()) as unknown as AdaptFigures;
  disposeTree(figures);
  return numbers;
}
