/** One arm of the comparison at one budget: what its process is asked, and what it answers. */
import { z } from 'zod';

export const armNames = ['tokens', 'subset', 'downsampled'] as const;
export type ArmName = (typeof armNames)[number];

/** What each arm stores. */
export const armTitles: Record<ArmName, string> = {
  tokens: 'tokens of all images',
  subset: 'raw pixels of a subset',
  downsampled: 'small pixels of all images',
};

export const Job = z.object({
  arm: z.enum(armNames),
  /** Bytes that the arm's file may take. */
  budget: z.int().positive(),
  /** Where its files go. */
  folder: z.string(),
  /** The codec of the token arm. */
  method: z.string(),
  seed: z.int().min(0),
  /** Seconds to spend on learning the tokenizer (token arm only), and on training the classifier. */
  seconds: z.object({ tokenizer: z.number(), classifier: z.number() }),
  /** Training images used, and test images, from the first; fewer than all only in tests. */
  images: z.object({ train: z.int().positive(), test: z.int().positive() }),
  /** Whether to keep pictures of what was stored. */
  pictures: z.boolean(),
});
export type Job = z.output<typeof Job>;

const CurvePoint = z.object({ step: z.number(), seconds: z.number(), loss: z.number() });
export type CurvePoint = z.output<typeof CurvePoint>;

export const ArmResult = z.object({
  arm: z.enum(armNames),
  budget: z.number(),
  /** Images that the file holds. */
  images: z.number(),
  /** Length of the file, by stat. */
  fileBytes: z.number(),
  accuracy: z.number(),
  /** Learning the tokenizer and writing the store, or reducing the pixels. */
  prepareSeconds: z.number(),
  /** Training the classifier; evaluation is not counted. */
  trainSeconds: z.number(),
  trainSteps: z.number(),
  plannedPeakBytes: z.number(),
  measuredPeakBytes: z.number(),
  /** Numbers in the model file. */
  parameters: z.number(),
  /** What one image became, in words. */
  form: z.string(),
  curve: z.array(CurvePoint),
  /** Pixels of the first test images of each class as the arm stores them, base64; [n, height, width]. */
  pictures: z.object({ height: z.number(), width: z.number(), pixels: z.string() }).nullable(),
});
export type ArmResult = z.output<typeof ArmResult>;

/** From an arm's process to the demo. */
export type Update =
  | { kind: 'progress'; what: string; done: number; total: number; note: string }
  | { kind: 'result'; result: ArmResult }
  | { kind: 'failed'; message: string; stack: string | undefined; interrupted: boolean };
