/** Pictures for the report: the first images of each class, as an arm keeps them. */
import type { PackedImages } from '../../data/index.ts';
import { encodePng } from '../../io/index.ts';
import type { ArmResult } from './job.ts';

/** Which images are shown: the first of every class. */
export function shownImages(labels: ArrayLike<number>): number[] {
  const seen = new Set<number>();
  return Array.from({ length: labels.length }, (_, i) => i).filter((i) => !seen.has(labels[i]!) && seen.add(labels[i]!));
}

/** The shown ones among `images`, grey, for a result. */
export function samplePictures(images: PackedImages, labels: ArrayLike<number>): ArmResult['pictures'] {
  const [height, width, channels] = images.shape;
  if (channels !== 1) return null;
  const shown = shownImages(labels).map((i) => images.at(i));
  return { height, width, pixels: Buffer.concat(shown).toString('base64') };
}

/** Rows of grey pictures as one PNG, each picture stretched to a square of `to` pixels without smoothing. */
export async function rowsPng(rows: readonly NonNullable<ArmResult['pictures']>[], to: number, gap = 2): Promise<Uint8Array> {
  const decoded = rows.map(({ pixels, ...size }) => ({ ...size, bytes: Buffer.from(pixels, 'base64') }));
  const countOf = ({ height, width, bytes }: (typeof decoded)[number]): number => Math.floor(bytes.length / (height * width));
  const columns = Math.max(...decoded.map(countOf));
  const [width, height] = [columns * (to + gap) - gap, rows.length * (to + gap) - gap];
  const out = new Uint8Array(width * height).fill(255);
  for (const [row, one] of decoded.entries())
    for (let n = 0; n < countOf(one); n++)
      for (let y = 0; y < to; y++)
        for (let x = 0; x < to; x++) {
          const from = (n * one.height + Math.floor((y * one.height) / to)) * one.width + Math.floor((x * one.width) / to);
          out[(row * (to + gap) + y) * width + n * (to + gap) + x] = one.bytes[from]!;
        }
  return encodePng({ width, height, channels: 1, pixels: out });
}
