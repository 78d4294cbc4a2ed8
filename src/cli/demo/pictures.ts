/** Pictures for the report: the first images of each class, as an arm keeps them. */
import type { PackedImages } from '../../data/index.ts';
import { encodePng } from '../../io/index.ts';
import type { ArmResult } from './job.ts';

/** Which images are shown: the first of every class. */
export function shownImages(labels: ArrayLike<number>): number[] {
  const seen = new Set<number>();
  return Array.from({ length: labels.length }, (_, i) => i).filter((i) => !seen.has(labels[i]!) && seen.add(labels[i]!));
}

/** The shown ones among `images`, grey and square, for a result. */
export function samplePictures(images: PackedImages, labels: ArrayLike<number>): ArmResult['pictures'] {
  const [side, width, channels] = images.shape;
  if (side !== width || channels !== 1) return null;
  const shown = shownImages(labels).map((i) => images.at(i));
  return { side, pixels: Buffer.concat(shown).toString('base64') };
}

/** Rows of square grey pictures as one PNG, each picture enlarged to `to` pixels without smoothing. */
export async function rowsPng(rows: readonly NonNullable<ArmResult['pictures']>[], to: number, gap = 2): Promise<Uint8Array> {
  const decoded = rows.map(({ side, pixels }) => ({ side, bytes: Buffer.from(pixels, 'base64') }));
  const count = Math.max(...decoded.map(({ side, bytes }) => Math.floor(bytes.length / side ** 2)));
  const [width, height] = [count * (to + gap) - gap, rows.length * (to + gap) - gap];
  const out = new Uint8Array(width * height).fill(255);
  for (const [row, { side, bytes }] of decoded.entries())
    for (let n = 0; n < Math.floor(bytes.length / side ** 2); n++)
      for (let y = 0; y < to; y++)
        for (let x = 0; x < to; x++) {
          const from = n * side ** 2 + Math.floor((y * side) / to) * side + Math.floor((x * side) / to);
          out[(row * (to + gap) + y) * width + n * (to + gap) + x] = bytes[from]!;
        }
  return encodePng({ width, height, channels: 1, pixels: out });
}
