import { fileURLToPath } from 'node:url';
import { openIdx } from './idx.ts';
import type { ImageSet } from './image-set.ts';

export const fashionClasses = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
] as const;

/** Where the package keeps its subset. */
const fashionFolder: string = fileURLToPath(new URL('../../data/fashion-mnist/', import.meta.url));

/**
 * The Fashion-MNIST subset of this package (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747): 28 x 28 grey, 10 classes,
 * balanced, `train` 20,000 (from the original training images) and `test` 5,000 (from the original test images).
 */
export function openFashion(split: 'train' | 'test' = 'train'): Promise<ImageSet> {
  const stem = split === 'train' ? 'train' : 't10k';
  return openIdx(`${fashionFolder}${stem}-images-idx3-ubyte.br`, undefined, { classes: fashionClasses });
}
