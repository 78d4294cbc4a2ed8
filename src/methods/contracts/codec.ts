/**
 * Codec: data is stored as tokens, models train from the tokens alone.
 *
 * Every stage leaves files and starts from files, so that each can run in another process, be resumed, and be measured in bytes.
 */
import type { Run } from './run.ts';

/** What is known of an image set before its pixels are read. */
export interface CodecTarget {
  images: number;
  /** Pixels. */
  height: number;
  width: number;
  /** 1 for grey, 3 for RGB. */
  channels: number;
  classes: number;
}

/** Labelled images of one size. `target.images` of them; indices run from 0. */
export interface ImageSet {
  readonly target: CodecTarget;
  /** Pixels [height, width, channels] of image `index`, 0..255. */
  pixels(index: number): Uint8Array;
  /** Class of image `index`, 0..classes-1. */
  label(index: number): number;
}

/** Where the stages write and read. */
export interface CodecFiles {
  /** What turns pixels into tokens: needed to add images and to predict from pixels, not to train. */
  tokenizer: string;
  /** Tokens and labels of all images, with what training needs to read them: the bytes that the method is about. */
  store: string;
  model: string;
}

export interface Codec {
  /** Learns from pixels how to write them; writes `files.tokenizer`. */
  learn(images: ImageSet, files: CodecFiles, run: Run): Promise<void>;
  /** Writes `images` with `files.tokenizer` to `files.store`, in at most the bytes that the method declared. */
  store(images: ImageSet, files: CodecFiles, run: Run): Promise<void>;
  /** Trains a classifier from `files.store`, no pixels; writes `files.model`. */
  train(files: CodecFiles, run: Run): Promise<void>;
  /** The class of every image, from pixels through `files.tokenizer` and `files.model`: [images] of 0..classes-1. */
  predict(images: ImageSet, files: CodecFiles, run: Run): Promise<Uint16Array>;
}
