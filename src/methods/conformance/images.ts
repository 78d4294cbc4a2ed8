/** A small image set that any codec can learn: three kinds of stripes, at random phase, under noise. Always the same. */
import type { ImageSet } from '../contracts/codec.ts';

const [size, classes] = [16, 3];

/** xorshift32: enough for noise, and the same in every process. */
function random(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Across, down, and diagonal. */
const directions = [
  [1, 0],
  [0, 1],
  [1, 1],
] as const;

function stripes(images: number, seed: number): ImageSet {
  return {
    target: { images, height: size, width: size, channels: 1, classes },
    label: (index) => index % classes,
    pixels(index) {
      const next = random(seed + index);
      const [dx, dy] = directions[index % classes]!;
      const phase = next() * 2 * Math.PI;
      return Uint8Array.from({ length: size * size }, (_, at) => {
        const wave = Math.sin((dx * (at % size) + dy * Math.floor(at / size)) * 1.2 + phase);
        return 128 + 80 * wave + 40 * (next() - 0.5);
      });
    },
  };
}

export const trainImages = stripes(96, 1);
export const testImages = stripes(48, 100_001);
