/** Training: the loop with checkpoints, resume and evaluation; checkpoint and model files; what a run will cost. */
export { accumulate, type LossAndGradients } from './accumulate.ts';
export { type Checkpoint, type CheckpointInfo, checkpointInfo, loadCheckpoint, type NewCheckpoint, saveCheckpoint } from './checkpoint.ts';
export { type EstimateOptions, estimateTraining, type TrainingEstimate, timeTraining } from './estimate.ts';
export { type CurvePoint, type Evaluation, type History, LossCurve } from './history.ts';
export { train } from './loop.ts';
export { median } from './median.ts';
export { NonFiniteError } from './nonfinite.ts';
export type { CheckpointOptions, EvaluateOptions, TrainOptions, TrainProgress, TrainResult } from './options.ts';
export { copyTree } from './snapshot.ts';
export { calibrate, measureSpeed, type Speed, secondsOf } from './speed.ts';
export type { Placed, StepResult, TrainStep } from './stepper.ts';
export type { TreeReadOptions } from './tree-file.ts';
export { loadModel, type ModelInfo, modelInfo, type SaveModelOptions, saveModel } from './weights.ts';
