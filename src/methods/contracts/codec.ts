/**
 * Codec: data is stored as tokens, models train from the tokens alone.
 *
 * Every stage leaves a file and starts from files, so that each can run in another process, be resumed, and be measured in bytes. A stage
 * that is called again after it was stopped goes on where its files end; a stage whose result is complete makes it anew.
 */
import { z } from 'zod';
import type { ImageSet } from '../../data/index.ts';
import type { Run } from './run.ts';

/** What the configuration in a model file says whatever its codec; without `image`, images are read in a size chosen from their files. */
export const ModelSays = z.object({
  method: z.string(),
  classes: z.array(z.string()).min(1),
  image: z
    .tuple([z.int().min(1), z.int().min(1), z.union([z.literal(1), z.literal(3)])])
    .optional()
    .describe('height, width and channels of the images that were stored'),
});

/** What is known of an image set before its pixels are read. */
export type CodecTarget = Pick<ImageSet, 'size' | 'shape' | 'classes'>;

/** Where the stages write and read. Beside a file, a stage that was stopped leaves what it needs to go on. */
export interface CodecFiles {
  /** What turns pixels into tokens, with all that its own training needs: for storing, and for looking at reconstructions. */
  tokenizer: string;
  /**
   * Tokens and labels of all images and whatever else it takes to train from them and to read new images the same way: the bytes that
   * the method is about.
   */
  store: string;
  /** A classifier of pixels: nothing else is needed to use it. */
  model: string;
}

export interface PlanOptions {
  /** Share of the training of the tokenizer, up to 1. */
  effort?: number;
  /** Name of the device that will run, which need not be here; default: the default device. */
  device?: string;
}

/** What a stage will take, before it runs. */
export interface StagePlan {
  what: 'tokenizer' | 'store' | 'classifier' | 'predict';
  steps: number;
  /** Device bytes at the worst moment. */
  peakBytes: number;
  /** Of its steps on this machine, without start and compilation; right within a factor of about two. NaN for a device that is not here. */
  seconds: number;
}

export interface Codec {
  /** Learns from pixels how to write them; writes `files.tokenizer`. */
  learn(images: ImageSet, files: Pick<CodecFiles, 'tokenizer'>, run: Run): Promise<void>;
  /** Writes `images` with `files.tokenizer` to `files.store`, in at most the bytes that the method declared. */
  store(images: ImageSet, files: Pick<CodecFiles, 'tokenizer' | 'store'>, run: Run): Promise<void>;
  /** Trains a classifier from `files.store` alone; writes `files.model`. */
  train(files: Pick<CodecFiles, 'store' | 'model'>, run: Run): Promise<void>;
  /** The class of every image by `files.model`: [images.size] of 0..classes-1. Images of any size and colour. */
  predict(images: ImageSet, files: Pick<CodecFiles, 'model'>, run: Run): Promise<Uint16Array>;
  /**
   * What the stored form of `images` still shows, by `files.tokenizer`: pixels [images.size, height, width, channels] of the images' own
   * shape. Absent where a codec cannot draw.
   */
  reconstruct?(images: ImageSet, files: Pick<CodecFiles, 'tokenizer'>, run: Run): Promise<Uint8Array>;
  /** What learning, storing and training on such images take. Runs none of it. Absent where a codec cannot tell. */
  plan?(target: CodecTarget, options?: PlanOptions): Promise<StagePlan[]>;
  /** The same of predicting the classes of such images by `files.model`. */
  planPredict?(target: CodecTarget, files: Pick<CodecFiles, 'model'>, options?: Pick<PlanOptions, 'device'>): Promise<StagePlan>;
}
