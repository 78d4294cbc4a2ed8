/** What the papers publish: sides of the stages, their recipes, and the settings of our own checks. */

/** Sides in pixels for 224-pixel images, by stage. */
export const publishedSides = {
  /** First version, every model: 5 stages of equal epochs. */
  v1: [160, 160, 160, 192, 224],
  /** EfficientTrain++: 10 stages of equal compute. */
  plusplus: {
    deit: [96, 96, 160, 160, 160, 160, 192, 192, 224, 224],
    swin: [96, 96, 160, 160, 160, 160, 224, 224, 224, 224],
    resnet: [96, 96, 160, 160, 160, 160, 224, 224, 224, 224],
    convnext: [160, 160, 160, 160, 160, 160, 224, 224, 224, 224],
  },
} as const;

/** Side of the images that the published sides are for. */
export const publishedSize = 224;

/** What the greedy search chooses from, and `fit` too: shares of the full side. */
export const candidateSides: readonly number[] = [96, 128, 160, 192, 224].map((side) => side / publishedSize);

/** RandAugment's m at augmentation strength 1. */
export const strongestMagnitude = 9;

/** How a model is trained besides the schedule. Rates hold for batches of 4,096 images unless scaled. */
export interface Recipe {
  /** Peak learning rate of AdamW. */
  lr: number;
  weightDecay: number;
  /** Share of the learning-rate schedule that warms up. */
  warmup: number;
  /** Global gradient norm; 0: no clipping. */
  clip: number;
  dropPath: number;
  /** Label smoothing. */
  smoothing: number;
  mixup: number;
  cutmix: number;
  /** Probability of random erasing. */
  erasing: number;
  /** RandAugment whose magnitude the schedule moves; without it `augmentation` has nothing to act on. */
  randAugment: boolean;
  /** Probability of a mirrored image. */
  flip: number;
  /** Least share of the area that a random box keeps before it is enlarged: objects come at every scale, as they do when the side changes. 0: whole images. */
  resizedCrop: number;
  /** Pixels of zeros around the image before a random crop. */
  padCrop: number;
  /** Decay of the averaged weights per step; 0: none are kept. */
  ema: number;
}

/** ImageNet, first version: DeiT and Swin, 300 epochs of batches of 4,096, 20 of them warm-up. */
export const imagenetRecipe: Recipe = {
  lr: 4e-3,
  weightDecay: 0.05,
  warmup: 20 / 300,
  clip: 5,
  dropPath: 0.1,
  smoothing: 0.1,
  mixup: 0.8,
  cutmix: 1,
  erasing: 0.25,
  randAugment: true,
  flip: 0.5,
  resizedCrop: 0.08,
  padCrop: 0,
  ema: 0,
};

export interface Experiment {
  /** Sides of the stages in pixels. */
  sides: readonly number[];
  epochs: number;
  batch: number;
  model: { patch: number; features: number; layers: number; heads: number };
  recipe: Recipe;
}

/**
 * The check's two settings: small enough for a processor (Fashion-MNIST, 28 pixels) and for a few minutes of a GPU (CIFAR-10, 32 pixels).
 * Mixing and erasing are off, and in the four epochs of the first RandAugment too: at full strength it more than halves the accuracy of the baseline,
 * and the gain would be that of weak augmentation alone. Crops keep at least 0.3 of the area, which shows objects at up to 28/16 times their size: the
 * greatest change of side. The published 0.08 is for large images and long runs.
 */
export const experiments: Readonly<Record<'fashion' | 'cifar10', Experiment>> = {
  fashion: {
    sides: [16, 16, 20, 24, 28],
    epochs: 4,
    batch: 32,
    model: { patch: 4, features: 64, layers: 4, heads: 4 },
    recipe: {
      ...imagenetRecipe,
      lr: 3e-3,
      warmup: 0.1,
      dropPath: 0,
      mixup: 0,
      cutmix: 0,
      erasing: 0,
      resizedCrop: 0.3,
      randAugment: false,
    },
  },
  cifar10: {
    sides: [16, 16, 24, 24, 32],
    epochs: 30,
    batch: 256,
    model: { patch: 4, features: 192, layers: 6, heads: 3 },
    recipe: { ...imagenetRecipe, lr: 1e-3, warmup: 0.1, dropPath: 0, mixup: 0, cutmix: 0, erasing: 0, resizedCrop: 0.3 },
  },
};
