/** What `train` is given, tells and returns. */
import type { random } from '../tensor/index.ts';
import type { CurvePoint, Evaluation } from './history.ts';
import type { Placed, StepperOptions } from './stepper.ts';

export interface CheckpointOptions {
  /** A safetensors file. Where it exists, the run goes on from it. One process at a time writes it. */
  path: string;
  /** Time between two saves; default 60. Also saved: the start, the end, and where the run stops. */
  everySeconds?: number;
  /** What makes this run this run, as plain JSON: model, data, batch size, seed, steps, rates. A checkpoint with another one is refused. */
  config: unknown;
  /**
   * Go on although the config is another one, as with a lower learning rate after a NaN. What follows is not what a run from the
   * beginning would give.
   */
  acceptConfig?: boolean;
}

export interface EvaluateOptions<S> {
  /** Evaluate after every so many steps, a whole number from 1, and after the last. */
  everySteps: number;
  /** Numbers of the state, such as `{ accuracy: 0.91 }`. Leaves the state as it is and is deterministic. */
  run: (state: S, step: number) => Readonly<Record<string, number>> | Promise<Readonly<Record<string, number>>>;
  /** Writes the model with the best `by` so far to `path` (see `saveModel`), with its step and config as `config`. */
  keepBest?: { by: string; path: string; model: (state: S) => unknown; lowest?: boolean };
}

export interface TrainOptions<S, B, H extends Placed> extends Omit<StepperOptions<S, B, H>, 'schedule'> {
  /**
   * The state at the start: any tree of tensors, given up to the run; or a function that makes it, always the same. Without a checkpoint a
   * given tree is kept a second time, in host memory, to find the cause of a NaN; a function costs nothing.
   */
  state: S | (() => S | Promise<S>);
  /** Random key of the run; step i (from 0) gets `foldIn(key, i)`. */
  key: random.Key;
  /** Learning rate of step i, counted from 0. */
  schedule: StepperOptions<S, B, H>['schedule'] | number;
  checkpoint?: CheckpointOptions;
  evaluate?: EvaluateOptions<S>;
  /** Aborted: the steps that are under way end, the checkpoint is saved, `signal.reason` is thrown. */
  signal?: AbortSignal;
  /** Called for every step in turn; where the device has a queue, when later steps are in it already. */
  onProgress?: (progress: TrainProgress) => void;
}

export interface TrainProgress {
  /** Steps done, of `steps`. */
  step: number;
  steps: number;
  /** Average over about the last 50 steps. */
  loss: number;
  /** Learning rate of this step. */
  lr: number;
  metrics: Readonly<Record<string, number>>;
  samplesPerSecond: number;
  /** Of the remaining steps, at the speed of the last ten seconds. */
  etaSeconds: number;
  /** Device bytes at the worst moment of a step, with the next batch beside it: known before the first step ran. */
  plannedPeakBytes: number;
  /** The latest one, if any. */
  evaluation: Evaluation | undefined;
}

export interface TrainResult<S> {
  state: S;
  step: number;
  /** Average over about the last 50 steps. */
  loss: number;
  /** Of the whole run, including what came before a resume. */
  curve: CurvePoint[];
  evaluations: Evaluation[];
  plannedPeakBytes: number;
  /** Of this call. */
  seconds: number;
}
