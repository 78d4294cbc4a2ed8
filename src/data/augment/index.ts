/** Augmentation of images: whole-pixel operations on the host, mixing and erasing as tensor operations. Randomness is explicit everywhere. */
export { Augmenter, spareThreads } from './augmenter.ts';
export { beta, normal, uniform } from './distributions.ts';
export { affine, type Box, enlarge, flipRows, padCrop, resizedCrop, rotation } from './geometry.ts';
export { type AugmentJob, augmentImages, type ImageAugment } from './images.ts';
export * as pixelOps from './pixels.ts';
export { type RandAugment, randAugment, randAugmentOps } from './rand-augment.ts';
export { boxMask, drawErasing, drawMix, erase, type MixOptions, mixImages, mixTargets, smoothTargets } from './regions.ts';
