/**
 * One case for every op and for the functions whose lowering is of interest. All devices run them: forward and gradient against the
 * reference device, whose gradients are checked against finite differences of its own float64 values.
 */
import type { Case } from '../inputs.ts';
import { attention } from './attention.ts';
import { classifier } from './classifier.ts';
import { contractions } from './contractions.ts';
import { decoder } from './decoder.ts';
import { fewRows } from './few-rows.ts';
import { indexing } from './indexing.ts';
import { layout } from './layout.ts';
import { orders } from './orders.ts';
import { pointwise } from './pointwise.ts';
import { reductions } from './reductions.ts';
import { rows } from './rows.ts';
import { wide } from './wide.ts';

/** The cases by what they are about: a device whose kernels take long to compile tests the families in processes of their own. */
export const families = {
  pointwise,
  layout,
  reductions,
  contractions,
  fewRows,
  indexing,
  rows,
  attention,
  decoder,
  classifier,
  orders,
  wide,
} satisfies Record<string, readonly Case[]>;
export type Family = keyof typeof families;
export const cases: readonly Case[] = Object.values(families).flat();
