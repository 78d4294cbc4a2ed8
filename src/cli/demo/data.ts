/** The demo's images, and the size of classifier that all of its arms share. */
import { z } from 'zod';
import { DataRandom, openFashion, type PackedImages, packImages, subset } from '../../data/index.ts';
import { loadMethodOf, type MethodOf } from '../../methods/index.ts';
import type { Job } from './job.ts';

/** The first images of the package's Fashion-MNIST subset. */
export async function openSplit(split: 'train' | 'test', { images }: Pick<Job, 'images'>): Promise<PackedImages> {
  const all = await packImages(await openFashion(split));
  const count = Math.min(images[split], all.size);
  return count === all.size ? all : packImages(subset(all, balanced(all, count, 0)));
}

/** Indices of `count` images, as many of each class as can be, chosen by a seed. */
export function balanced({ labels, classes }: PackedImages, count: number, seed: number): Uint32Array {
  const members = classes.map((): number[] => []);
  for (const i of new DataRandom(seed).shuffle(Uint32Array.from(labels.keys()))) members[labels[i]!]!.push(i);
  const order: number[] = [];
  for (let round = 0; order.length < labels.length; round++)
    for (const indices of members) if (indices[round] !== undefined) order.push(indices[round]!);
  return Uint32Array.from(order.slice(0, count)).sort();
}

const positive = z.int().positive();

/** Transformer width, depth and heads, and the convolution that makes its tokens from a grid. */
const ClassifierSize = z.object({
  features: positive,
  layers: positive,
  heads: positive,
  positions: z.enum(['learned', 'sincos']),
  stem: z.object({ size: positive, stride: positive, padding: z.int().min(0) }),
});
export type ClassifierSize = z.output<typeof ClassifierSize>;

/** The codec of the token arm with its configuration for these images and this budget, and the size of its classifier. */
export async function fitCodec(
  { method, budget }: Pick<Job, 'method' | 'budget'>,
  images: PackedImages,
): Promise<{ codec: ReturnType<MethodOf<'codec'>['create']>; config: unknown; size: ClassifierSize }> {
  const chosen = await loadMethodOf('codec', method);
  const config: unknown = chosen.fit(budget, images);
  // Codecs that train a transformer say its size in their configuration; others are compared with the small one.
  const said = z.object({ model: ClassifierSize }).safeParse(config);
  const size: ClassifierSize = said.success
    ? said.data.model
    : { features: 128, layers: 3, heads: 4, positions: 'sincos', stem: { size: 4, stride: 2, padding: 1 } };
  return { codec: chosen.create(config), config, size };
}
