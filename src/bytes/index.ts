/** Bytes as a unit: sizes, budgets, measured ledgers, and the knapsack that turns a budget into a choice. */
export { Budget, BudgetError, type Shortfall } from './budget.ts';
export { type Choice, type Item, type KnapsackOptions, knapsack, multipleChoiceKnapsack } from './knapsack.ts';
export { Ledger, type LedgerColumn, type LedgerEntry, type MeasureOptions } from './ledger.ts';
export {
  type FileBytes,
  fileBytes,
  type Measured,
  measurePeak,
  type Peak,
  PeakMeter,
  type PeakMeterOptions,
  residentBytes,
} from './measure.ts';
export { parseBytes, printBytes, printExactBytes, printPair } from './size.ts';
