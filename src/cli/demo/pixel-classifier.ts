/** The classifier of the pixel arms: the same transformer that reads tokens, with a stem of square patches of pixels. */
import { DataRandom, EpochSampler, imageBytes, type PackedImages } from '../../data/index.ts';
import { AdamW, type AdamWState, classificationLoss, decayMatricesOnly, initialize, Vit, warmupCosine } from '../../nn/index.ts';
import { argmax, compile, disposeTree, random, scope, type Tensor, tensor, valueAndGrad } from '../../tensor/index.ts';

/** The size that every arm shares. */
export interface ClassifierSize {
  features: number;
  layers: number;
  heads: number;
}

export interface PixelRecipe extends ClassifierSize {
  /** Side of a patch in pixels. */
  patch: number;
  batch: number;
  lr: number;
  weightDecay: number;
  smoothing: number;
  /** Mirror half of the images, and move every image by up to so many pixels along each axis. */
  shift: number;
  flip: boolean;
}

/** Pixels u8 [n, h, w, c] as f32 [n, c, h, w] with the mean and deviation of the training set taken out, mirrored and moved when `how` asks. */
export class PixelBatches {
  readonly #shape: PackedImages['shape'];
  readonly #mean: number;
  readonly #scale: number;

  constructor(images: PackedImages) {
    this.#shape = images.shape;
    let [sum, squares] = [0, 0];
    for (const value of images.pixels) {
      sum += value;
      squares += value * value;
    }
    this.#mean = sum / images.pixels.length;
    this.#scale = 1 / Math.max(1, Math.sqrt(squares / images.pixels.length - this.#mean ** 2));
  }

  read(images: PackedImages, indices: ArrayLike<number>, how?: { random: DataRandom; shift: number; flip: boolean }): Float32Array {
    const [height, width, channels] = this.#shape;
    const plane = height * width;
    const out = new Float32Array(indices.length * plane * channels);
    for (let n = 0; n < indices.length; n++) {
      const from = images.at(indices[n]!);
      const mirrored = how?.flip === true && how.random.below(2) === 1;
      const move = (): number => (how ? how.random.below(2 * how.shift + 1) - how.shift : 0);
      const [dy, dx] = [move(), move()];
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) {
          // What moves in from outside repeats the edge.
          const sourceY = Math.min(height - 1, Math.max(0, y + dy));
          const shifted = Math.min(width - 1, Math.max(0, x + dx));
          const sourceX = mirrored ? width - 1 - shifted : shifted;
          for (let c = 0; c < channels; c++)
            out[(n * channels + c) * plane + y * width + x] = (from[(sourceY * width + sourceX) * channels + c]! - this.#mean) * this.#scale;
        }
    }
    return out;
  }
}
