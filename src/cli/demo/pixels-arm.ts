/** The two arms that store pixels: some images whole, or all images small. */
import { join } from 'node:path';
import { BudgetError, fileBytes, PeakMeter } from '../../bytes/index.ts';
import { PackedImages, packImages, subset } from '../../data/index.ts';
import { resizeImage } from '../../io/index.ts';
import { balanced, type ClassifierSize, fitCodec, openSplit } from './data.ts';
import type { ArmResult, Job } from './job.ts';
import { kept, secondsOf, type Tell } from './kept.ts';
import { samplePictures } from './pictures.ts';
import { pixelScale } from './pixel-batches.ts';
import { type PixelRecipe, pixelAccuracy, pixelStepSeconds, trainPixels } from './pixel-classifier.ts';
import { imagesWithin, pixelFileBytes, readPixelFile, writePixelFile } from './pixel-file.ts';
import { Recorder } from './recorder.ts';

/** All images at another height and width, by the mean of the pixels that each new one covers. */
export function downsample(images: PackedImages, height: number, width: number): PackedImages {
  const [fromHeight, fromWidth, channels] = images.shape;
  if (fromHeight === height && fromWidth === width) return images;
  const pixels = new Uint8Array(images.size * height * width * channels);
  for (let i = 0; i < images.size; i++) {
    const image = { height: fromHeight, width: fromWidth, channels, pixels: images.at(i) };
    pixels.set(resizeImage(image, { height, width, filter: 'area' }).pixels, i * height * width * channels);
  }
  const { labels, classes, source } = images;
  return new PackedImages({ pixels, labels, shape: [height, width, channels], classes, source });
}

/**
 * The largest height and width at which all images fit into `budget`: the shape of the images scaled down, its longer side (its height, if
 * they are equal) one longer where that fits too. @throws BudgetError where one pixel each does not fit
 */
export function largestSize(images: PackedImages, budget: number): [height: number, width: number] {
  const [height, width, channels] = images.shape;
  const bytes = (h: number, w: number): number =>
    pixelFileBytes({ images: images.size, height: h, width: w, channels, classes: images.classes.length });
  const longest = Math.max(height, width);
  const scaled = (side: number, of: number): number => Math.max(1, Math.round((side * of) / longest));
  for (let side = longest; side >= 1; side--) {
    const [h, w] = [scaled(side, height), scaled(side, width)];
    if (bytes(h, w) > budget) continue;
    const [h1, w1] = height >= width ? [Math.min(height, h + 1), w] : [h, Math.min(width, w + 1)];
    return bytes(h1, w1) <= budget ? [h1, w1] : [h, w];
  }
  throw new BudgetError({
    who: 'demo',
    budget,
    needed: bytes(1, 1),
    because: `${images.size} images of one pixel`,
    wayOut: 'raise the budget',
  });
}

/** What is kept of `images` in `budget` bytes. @throws BudgetError where nothing useful is. */
function choose(images: PackedImages, { arm, budget, seed }: Job): { chosen: () => Promise<PackedImages>; side: number; form: string } {
  const [height, width, channels] = images.shape;
  const classes = images.classes.length;
  if (arm === 'downsampled') {
    const [h, w] = largestSize(images, budget);
    return { chosen: async () => downsample(images, h, w), side: Math.min(h, w), form: `${h} x ${w} pixels` };
  }
  const count = Math.min(images.size, imagesWithin(budget, { height, width, channels, classes }));
  if (count < classes) {
    const needed = pixelFileBytes({ images: classes, height, width, channels, classes });
    throw new BudgetError({
      who: 'demo',
      budget,
      needed,
      because: `one whole image of each of ${classes} classes`,
      wayOut: 'raise the budget',
    });
  }
  return { chosen: () => packImages(subset(images, balanced(images, count, seed))), side: height, form: `${height} x ${width} pixels` };
}

/**
 * How pixels are trained from: with the token arm's transformer and optimiser. Small images are read through the token arm's stem, a pixel
 * for a token; large ones through patches, so that the transformer sees 16. Fixed positions and, for few images, mirroring and moving are
 * what helped pixels most.
 */
function recipeFor(size: ClassifierSize, side: number, { arm }: Job): PixelRecipe {
  const patch = Math.max(1, Math.round(side / 4));
  const stem =
    side > 8 ? { size: patch, stride: patch, padding: 0 } : side < size.stem.size ? { size: 1, stride: 1, padding: 0 } : size.stem;
  const jitter = arm === 'subset' ? { shift: 2, flip: true } : { shift: 0, flip: false };
  return { ...size, positions: 'sincos', stem, batch: 64, lr: 1e-3, weightDecay: 0.05, smoothing: 0.1, jitter };
}

export async function pixelsArm(job: Job, tell: Tell): Promise<ArmResult> {
  const { arm, budget, folder, seed, signal } = { ...job, signal: tell.signal };
  const test = await openSplit('test', job);
  const all = await openSplit('train', job);
  const { size } = await fitCodec(job, all);
  const path = join(folder, `${arm}.pixels`);
  const began = performance.now();
  const { chosen, side, form } = choose(all, job);
  writePixelFile(path, await chosen());
  const prepareSeconds = (performance.now() - began) / 1000;

  const images = readPixelFile(path, all.classes);
  const recipe = recipeFor(size, side, job);
  const { steps } = await kept(join(folder, `${arm}.plan.json`), async () => ({
    steps: Math.max(20, Math.round(job.seconds.classifier / (await pixelStepSeconds(images, recipe)))),
  }));
  const recorder = new Recorder();
  const model = join(folder, `${arm}.safetensors`);
  using meter = new PeakMeter();
  let trained = { plannedPeakBytes: 0, parameters: 0 };
  const trainSeconds = await secondsOf(join(folder, `${arm}.seconds.json`), async () => {
    trained = await trainPixels(images, recipe, {
      steps,
      seed,
      path: model,
      signal,
      onStep(step, loss) {
        recorder.add(step, loss);
        tell.progress('train', step, steps, `loss ${loss.toFixed(3)}`);
      },
    });
  });
  const { peakBytes } = meter.stop();
  const seen = downsample(test, images.shape[0], images.shape[1]);
  const accuracy = await pixelAccuracy(seen, model, recipe, pixelScale(images));
  return {
    arm,
    budget,
    images: images.size,
    fileBytes: fileBytes(path).apparent,
    accuracy,
    prepareSeconds,
    trainSeconds,
    trainSteps: steps,
    measuredPeakBytes: peakBytes,
    ...trained,
    form,
    curve: recorder.curve,
    pictures: job.pictures ? samplePictures(seen, test.labels) : null,
  };
}
