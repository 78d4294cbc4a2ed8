/**
 * `npm run bench -- data`: how fast the host prepares batches, by worker threads. 256 colour images of 32 x 32 a batch, random crop, mirror and
 * RandAugment of magnitude 9, as EfficientTrain's check on CIFAR-10 has them. Prints batches a second as JSON.
 */
import { availableParallelism } from 'node:os';
import { Augmenter } from '../data/augment/index.ts';
import { ahead, DataRandom, EpochSampler, PackedImages, readBatch } from '../data/index.ts';

const batchSize = 256;
const shape = [32, 32, 3] as const;

/** Smooth random colours: what an operation costs hardly depends on the picture. */
function pictures(count: number): PackedImages {
  const random = new DataRandom(1);
  const pixels = new Uint8Array(count * 3072);
  for (let i = 0, at = 0; i < count; i++) {
    const [a, b] = [random.below(64), random.below(64)];
    for (let p = 0; p < 3072; p++) pixels[at++] = 96 + a + (p % 3) * b * ((p >> 7) / 24);
  }
  return new PackedImages({ pixels, labels: new Uint8Array(count), shape, classes: ['a'] });
}

async function batchesPerSecond(images: PackedImages, threads: number, seconds: number): Promise<number> {
  await using augmenter = new Augmenter(threads);
  const sampler = new EpochSampler(images.size, { batchSize });
  const augment = { padCrop: 4, flip: 0.5, randAugment: { magnitude: 9 } };
  const next = async () => {
    const indices = sampler.next();
    const { pixels } = await readBatch(images, indices);
    return augmenter.run({ pixels, shape, augment, seeds: [sampler.position.epoch], indices });
  };
  let [made, began] = [-8 * augmenter.width, 0]; // the first ones start the threads
  for await (const _ of ahead(next, augmenter.width)) {
    if (made++ === 0) began = performance.now();
    if (made > 0 && performance.now() - began > 1000 * seconds) break;
  }
  return (1000 * (made - 1)) / (performance.now() - began);
}

const images = pictures(4096);
const result: Record<string, number> = {};
for (let threads = 0; threads <= Math.min(16, availableParallelism()); threads = threads === 0 ? 1 : 2 * threads)
  result[threads] = Math.round(await batchesPerSecond(images, threads, 1.5));
console.log(JSON.stringify({ batchSize, shape, cores: availableParallelism(), batchesPerSecondByThreads: result }));
