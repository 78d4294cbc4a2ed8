/**
 * The mirror image of each code. Mirroring the grid of codes alone leaves the inside of every patch as it was; the code that most often stands
 * at the mirrored place of mirrored images repairs most of that for K numbers. This is ours, not the paper's: TokenAdapt does the same for any
 * operation, with its neighbours in view, and must be trained.
 */
import { cast, embedding, flip, random, type Tensor, where } from '../../../tensor/index.ts';

/** Counts which code the mirrored image has where an image has a code. */
export class MirrorCounts {
  readonly #K: number;
  readonly #counts = new Map<number, number>();

  constructor(K: number) {
    this.#K = K;
  }

  /** codes and those of the mirrored images, each [images, grid, grid]. */
  add(codes: ArrayLike<number>, mirrored: ArrayLike<number>, grid: number): void {
    for (let i = 0; i < codes.length; i++) {
      const column = i % grid;
      const pair = codes[i]! * this.#K + mirrored[i - column + grid - 1 - column]!;
      this.#counts.set(pair, (this.#counts.get(pair) ?? 0) + 1);
    }
  }

  /** [K] the most frequent partner of each code; the lowest among equals, the code itself where it was never seen. */
  best(): Uint16Array {
    const best = Uint16Array.from({ length: this.#K }, (_, code) => code);
    const most = new Float64Array(this.#K);
    for (const [pair, count] of this.#counts) {
      const [code, partner] = [Math.floor(pair / this.#K), pair % this.#K];
      if (count < most[code]! || (count === most[code] && partner > best[code]!)) continue;
      most[code] = count;
      best[code] = partner;
    }
    return best;
  }
}

/** Mirrors each image with probability p. codes i32 [B, h, w], mirror i32 [K]. */
export function mirrorImages(key: random.Key, codes: Tensor, mirror: Tensor, p: number): Tensor {
  const chosen = cast(random.bernoulli(key, [codes.shape[0]!, 1, 1], p), 'i32');
  return where(chosen, embedding(mirror, flip(codes, 2)), codes);
}
