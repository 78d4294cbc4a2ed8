import { type ImageSet, subset } from './image-set.ts';
import { DataRandom } from './random.ts';

/**
 * A stratified split by seed: every class gives its share to validation, rounded so that the shares add up over the classes,
 * and keeps at least one image for training.
 *
 * @param validation share of images for validation, 0 <= validation < 1
 */
export function splitImages(
  set: ImageSet,
  { validation, seed = 0 }: { validation: number; seed?: number },
): { train: ImageSet; validation: ImageSet } {
  const { train, validation: held } = splitIndices(set, validation, seed);
  return { train: subset(set, train), validation: subset(set, held) };
}

/** The indices of `splitImages`, ascending. */
export function splitIndices(
  { labels, classes }: Pick<ImageSet, 'labels' | 'classes'>,
  share: number,
  seed: number,
): { train: Uint32Array; validation: Uint32Array } {
  if (!(share >= 0 && share < 1)) throw new RangeError(`[data] validation share ${share}: give 0 or more, below 1`);
  const members = classes.map((): number[] => []);
  labels.forEach((label, i) => members[label]!.push(i));
  const held: number[] = [];
  let owed = 0;
  for (const [c, indices] of members.entries()) {
    owed += share * indices.length;
    const count = Math.max(0, Math.min(Math.round(owed), indices.length - 1));
    owed = Math.min(owed - count, 0.5); // what a tiny class cannot give is not taken from the others
    for (const i of new DataRandom(seed, c).shuffle(indices).slice(0, count)) held.push(i);
  }
  const isHeld = new Set(held);
  const train = Uint32Array.from(labels.keys()).filter((i) => !isHeld.has(i));
  return { train, validation: Uint32Array.from(held).sort() };
}
