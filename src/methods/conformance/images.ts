/** A small image set that any codec can learn: three kinds of stripes, at random phase, under noise. Always the same. */
import { DataRandom, PackedImages } from '../../data/index.ts';

const size = 16;
const classes = ['across', 'down', 'diagonal'];

const directions = [
  [1, 0],
  [0, 1],
  [1, 1],
] as const;

function stripes(images: number, seed: number): PackedImages {
  const random = new DataRandom(seed);
  const uniform = (): number => random.nextUint32() / 2 ** 32;
  const labels = Array.from({ length: images }, (_, index) => index % classes.length);
  const pixels = new Uint8Array(images * size * size);
  for (const [index, label] of labels.entries()) {
    const [dx, dy] = directions[label]!;
    const phase = uniform() * 2 * Math.PI;
    for (let at = 0; at < size * size; at++) {
      const wave = Math.sin((dx * (at % size) + dy * Math.floor(at / size)) * 1.2 + phase);
      pixels[index * size * size + at] = 128 + 80 * wave + 40 * (uniform() - 0.5);
    }
  }
  return new PackedImages({ pixels, labels, shape: [size, size, 1], classes, source: 'stripes' });
}

export const trainImages = stripes(96, 1);
export const testImages = stripes(48, 2);
