/**
 * Vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929): a stem of patches, positions, pre-norm blocks, the mean of the patch tokens, a
 * linear head. The stem reads any grid [B, C, H, W]: pixels, or vectors of stored tokens.
 */
import { add, bicubicResize, cast, mean, random, reshape, type Tensor, tensor } from '../../tensor/index.ts';
import { truncatedNormal, zerosParameter } from '../init.ts';
import { Conv2d, gridToSequence, LayerNorm, Linear } from '../module.ts';
import { Block, forwardBlocks, type Noise } from '../transformer.ts';

export interface VitConfig {
  /** Of the input grid. */
  channels: number;
  height: number;
  width: number;
  patch: { size: number; stride: number; padding: number };
  /** Features of a token inside the model. */
  features: number;
  layers: number;
  heads: number;
  /** Hidden features of the MLPs; default 4 x features. */
  hidden?: number;
  classes: number;
  /** `learned` positions can be resized with the grid; `sincos` ones are fixed. */
  positions: 'learned' | 'sincos';
}

/** Number of patches along each axis. */
export function patchGrid({ height, width, patch }: Pick<VitConfig, 'height' | 'width' | 'patch'>): [number, number] {
  const count = (n: number): number => Math.floor((n + 2 * patch.padding - patch.size) / patch.stride) + 1;
  return [count(height), count(width)];
}

export class Vit {
  readonly stem: Conv2d;
  /** f32 [1, h*w, features]; undefined when fixed. */
  readonly positions: Tensor | undefined;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  readonly head: Linear;
  readonly grid: readonly [number, number];

  constructor(
    stem: Conv2d,
    positions: Tensor | undefined,
    blocks: Block[],
    norm: LayerNorm,
    head: Linear,
    grid: readonly [number, number],
  ) {
    this.stem = stem;
    this.positions = positions;
    this.blocks = blocks;
    this.norm = norm;
    this.head = head;
    this.grid = grid;
  }

  static init(key: random.Key, c: VitConfig): Vit {
    const [a, b, d, e] = random.splitKey(key, 4) as [random.Key, random.Key, random.Key, random.Key];
    const grid = patchGrid(c);
    const blocks = Array.from({ length: c.layers }, (_, i) =>
      Block.init(random.foldIn(d, i), { width: c.features, heads: c.heads, hidden: c.hidden ?? 4 * c.features }),
    );
    return new Vit(
      Conv2d.init(a, c.channels, c.features, c.patch.size, { stride: c.patch.stride, padding: c.patch.padding }),
      c.positions === 'learned' ? truncatedNormal(b, [1, grid[0] * grid[1], c.features]) : undefined,
      blocks,
      LayerNorm.init(c.features),
      new Linear(truncatedNormal(e, [c.features, c.classes], 2e-5), zerosParameter([c.classes])),
      grid,
    );
  }

  /** x [B, C, H, W] -> patch tokens [B, n, features], after the last norm. `noise.dropPath` grows linearly with depth. */
  features(x: Tensor, noise?: Noise): Tensor {
    const patches = this.stem.forward(x);
    const grid = patches.shape.slice(2) as [number, number];
    const placed = add(gridToSequence(patches), cast(this.positionsFor(grid), patches.dtype));
    return this.norm.forward(forwardBlocks(this.blocks, placed, noise));
  }

  /** x [B, C, H, W] -> logits [B, classes]. */
  forward(x: Tensor, noise?: Noise): Tensor {
    return this.head.forward(mean(this.features(x, noise), 1));
  }

  /** Positions of another grid: learned ones are interpolated (bicubic). */
  positionsFor(grid: readonly [number, number]): Tensor {
    const width = this.norm.gain.size;
    if (!this.positions) return sincosPositions(grid, width);
    if (grid[0] === this.grid[0] && grid[1] === this.grid[1]) return this.positions;
    return resizePositions(this.positions, this.grid, grid);
  }
}

/** Positions [1, h*w, D] of one grid -> of another, bicubic on the grid. */
export function resizePositions(positions: Tensor, from: readonly [number, number], to: readonly [number, number]): Tensor {
  const D = positions.shape[2]!;
  const image = reshape(positions, [1, from[0], from[1], D]);
  // rows and columns in turn; the features ride along as the last axis
  return reshape(bicubicResize(image, to, [1, 2]), [1, to[0] * to[1], D]);
}

/**
 * Fixed 2-D sine and cosine positions f32 [1, h*w, D]: a quarter of the features each for sin and cos of the row and of the column,
 * with frequencies 10000^(-4i/D). D is a multiple of 4.
 */
export function sincosPositions([h, w]: readonly [number, number], D: number): Tensor {
  if (D % 4) throw new Error(`[positions] 2-D sine-cosine positions need a width that is a multiple of 4, not ${D}`);
  const q = D / 4;
  const out = new Float32Array(h * w * D);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++)
      for (let i = 0; i < q; i++) {
        const f = 10000 ** (-i / q);
        const at = (y * w + x) * D + i;
        out[at] = Math.sin(y * f);
        out[at + q] = Math.cos(y * f);
        out[at + 2 * q] = Math.sin(x * f);
        out[at + 3 * q] = Math.cos(x * f);
      }
  return tensor(out, { shape: [1, h * w, D] });
}
