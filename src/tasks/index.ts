/** What users ask for, as functions: what the verbs of the command line call. */
export { type Evaluated, type EvaluateOptions, evaluate, type Predicted, predict } from './evaluate.ts';
export { type Planned, type PlanOptions, plan, type Work } from './plan.ts';
export { type Stored, type StoreOptions, store } from './store.ts';
export type { Cost, TaskOptions } from './task.ts';
export { type Trained, type TrainOptions, train } from './train.ts';
