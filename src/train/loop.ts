/** The training loop: steps, evaluation, checkpoints, resume, progress, and what to do when something goes wrong. */
import { lockFile } from '../io/lock.ts';
import { disposeTree, type random } from '../tensor/index.ts';
import { type Checkpoint, loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { type Evaluation, emptyHistory, type History } from './history.ts';
import { assertJson, differences } from './json.ts';
import { findFailure, NonFiniteError } from './nonfinite.ts';
import type { TrainOptions, TrainResult } from './options.ts';
import { RateMeter } from './rate.ts';
import { nonFiniteTensors, Snapshot } from './snapshot.ts';
import { type Place, type Placed, Stepper, type StepperOptions, type StepReport } from './stepper.ts';
import { saveModel } from './weights.ts';

/**
 * Trains for `steps` steps. With a checkpoint the run survives Ctrl-C, crashes and kills: called again with the same options it goes on from
 * the file, and ends with the bits of a run that was never interrupted.
 *
 * @throws NonFiniteError for a NaN or an infinity, with the step and the op; `signal.reason` when aborted; whatever `batches`, `prepare`,
 * `evaluate` and `onProgress` throw. Before it throws, the checkpoint is saved where the state is whole.
 */
export async function train<S, B, H extends Placed>(options: TrainOptions<S, B, H>): Promise<TrainResult<S>> {
  const { checkpoint, steps } = options;
  if (!(Number.isSafeInteger(steps) && steps >= 0 && steps < 2 ** 31))
    throw new RangeError(`[train] ${steps} steps; give a whole number from 0 to 2^31 - 1`);
  const everySteps = options.evaluate?.everySteps ?? 1;
  if (!(Number.isInteger(everySteps) && everySteps >= 1))
    throw new RangeError(`[train] an evaluation every ${everySteps} steps; give a whole number from 1, or leave 'evaluate' out for none`);
  assertJson(checkpoint?.config, 'train');
  options.signal?.throwIfAborted();
  const lock =
    checkpoint &&
    lockFile(
      checkpoint.path,
      (why) => `[train] cannot write the checkpoint ${checkpoint.path}: ${why}; choose a folder that exists and is yours to write`,
    );
  try {
    return await new Run(options).toEnd();
  } finally {
    lock?.release();
  }
}

/** The event loop gets a turn at least this often, also where a device runs its steps on this thread. */
const breatheMs = 20;

class Run<S, B, H extends Placed> {
  readonly #o: TrainOptions<S, B, H>;
  readonly #stepperOptions: StepperOptions<S, B, H>;
  readonly #rate = new RateMeter();
  #history: History = emptyHistory();
  /** What the checkpoint on the disk holds. */
  #saved: { step: number; evaluations: number } | undefined;
  #nextSave = 0;
  /** Tensors that hold infinities from the start. */
  #usual: ReadonlySet<string> = new Set();
  /** The start, once the state is under way: its structure, or also its numbers. */
  #template!: S;
  #copy: Snapshot<S> | undefined;
  #plannedPeakBytes = 0;
  /** When the work on the next step to be reported began. */
  #began: number | undefined;

  constructor(options: TrainOptions<S, B, H>) {
    const { schedule } = options;
    this.#o = options;
    this.#stepperOptions = { ...options, schedule: typeof schedule === 'number' ? () => schedule : schedule };
  }

  async toEnd(): Promise<TrainResult<S>> {
    const began = performance.now();
    const place = await this.#start();
    await using stepper = this.#stepper(place);
    try {
      if (place.step < this.#o.steps) this.#plannedPeakBytes = await stepper.plannedPeakBytes();
      await this.#steps(stepper);
    } catch (error) {
      const reason: unknown = this.#o.signal?.aborted && !(error instanceof NonFiniteError) ? this.#o.signal.reason : error;
      try {
        if (!(error instanceof NonFiniteError)) {
          while (stepper.intact && stepper.underWay) await this.#record(await stepper.report(), stepper);
          if (stepper.intact) await this.#save(stepper.place, reason);
        }
      } finally {
        disposeTree(stepper.place.state);
      }
      throw reason;
    }
    const { state, step } = stepper.place;
    const { losses, evaluations } = this.#history;
    return {
      state,
      step,
      loss: losses.smoothed,
      curve: losses.points,
      evaluations,
      plannedPeakBytes: this.#plannedPeakBytes,
      seconds: (performance.now() - began) / 1000,
    };
  }

  #stepper(from: Place<S>): Stepper<S, B, H> {
    return new Stepper(this.#stepperOptions, from, this.#o.key);
  }

  /** The state to begin with: that of the checkpoint, or a new one, which is saved at once so that a bad path is known early. */
  async #start(): Promise<Place<S>> {
    const { checkpoint, steps } = this.#o;
    const fresh = await this.#fresh();
    this.#template = fresh;
    if (!checkpoint) {
      if (typeof this.#o.state !== 'function') this.#copy = new Snapshot(fresh);
      this.#usual = new Set(nonFiniteTensors(fresh));
      return { state: fresh, step: 0, position: undefined };
    }
    const found = await this.#load(checkpoint.path).catch((error: unknown) => {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
      throw error;
    });
    const place = found ?? { state: fresh, step: 0, position: undefined };
    this.#usual = new Set(nonFiniteTensors(place.state));
    if (found) {
      disposeTree(fresh);
      if (found.step > steps)
        throw new RangeError(
          `[train] ${checkpoint.path} stands at step ${found.step}, asked are ${steps}; ask for more, or choose another path`,
        );
      this.#history = found.history;
      this.#saved = { step: found.step, evaluations: found.history.evaluations.length };
    } else await this.#save(place);
    this.#nextSave = performance.now() + this.#saveEveryMs;
    return place;
  }

  async #fresh(): Promise<S> {
    const { state } = this.#o;
    return typeof state === 'function' ? (state as () => S | Promise<S>)() : state;
  }

  get #saveEveryMs(): number {
    return 1000 * (this.#o.checkpoint?.everySeconds ?? 60);
  }

  /** The checkpoint of this very run. */
  async #load(path: string): Promise<Checkpoint<S>> {
    const { checkpoint, key } = this.#o;
    const { state: template, ...loaded } = await loadCheckpoint(path, { key, state: this.#template }, { device: key.storage.device });
    const fail = (why: string): never => {
      disposeTree(template);
      throw new Error(`[train] ${path} is the checkpoint of another run (${why}); choose another path, or delete it to start anew`);
    };
    const changed = differences(loaded.config, checkpoint!.config);
    if (changed.length && !checkpoint!.acceptConfig) fail(changed.slice(0, 5).join('; '));
    if (!equalBytes(template.key, key)) fail('its random key is another one');
    template.key.dispose();
    return { ...loaded, state: template.state };
  }

  async #steps(stepper: Stepper<S, B, H>): Promise<void> {
    const { steps, signal } = this.#o;
    let breath = performance.now();
    for (;;) {
      const { step } = stepper.place;
      const save = this.#o.checkpoint && performance.now() >= this.#nextSave;
      // a place is evaluated and saved when all losses up to it are known to be finite
      if (save || step >= steps || this.#evaluates(step)) while (stepper.underWay) await this.#tell(stepper);
      signal?.throwIfAborted();
      await this.#evaluate(stepper.place);
      if (step >= steps) break;
      if (save) await this.#saveOnTheWay(stepper.place);
      this.#began ??= performance.now();
      await stepper.next();
      while (stepper.full) await this.#tell(stepper);
      if (performance.now() - breath > breatheMs) {
        await new Promise((resolve) => setImmediate(resolve));
        breath = performance.now();
      }
    }
    await this.#save(stepper.place);
  }

  /** What is known of the oldest step under way, to who wants to know. */
  async #tell(stepper: Stepper<S, B, H>): Promise<void> {
    const { steps, onProgress } = this.#o;
    const report = await stepper.report();
    const now = performance.now();
    await this.#record(report, stepper);
    this.#rate.add((now - (this.#began ?? now)) / 1000, report.samples);
    this.#began = stepper.underWay ? now : undefined;
    onProgress?.({
      step: report.step,
      steps,
      loss: this.#history.losses.smoothed,
      lr: report.lr,
      metrics: report.metrics,
      samplesPerSecond: this.#rate.samplesPerSecond,
      etaSeconds: (steps - report.step) * this.#rate.secondsPerStep,
      plannedPeakBytes: this.#plannedPeakBytes,
      evaluation: this.#history.evaluations.at(-1),
    });
  }

  async #record({ step, loss }: StepReport, stepper: Stepper<S, B, H>): Promise<void> {
    if (!Number.isFinite(loss)) await this.#stop(`the loss became ${loss} at step ${step} of ${this.#o.steps}`, { ...stepper.place, step });
    this.#history.losses.add(loss);
  }

  /** Whether an evaluation is due after `step` steps. */
  #evaluates(step: number): boolean {
    const { evaluate, steps } = this.#o;
    if (!evaluate || step === 0 || (step % evaluate.everySteps && step < steps)) return false;
    return this.#history.evaluations.at(-1)?.step !== step;
  }

  async #evaluate({ state, step }: Place<S>): Promise<void> {
    const { evaluate, checkpoint } = this.#o;
    const { evaluations } = this.#history;
    if (!evaluate || !this.#evaluates(step)) return;
    const metrics = { ...(await evaluate.run(state, step)) };
    const { keepBest } = evaluate;
    if (keepBest) {
      const score = (e: Pick<Evaluation, 'metrics'>): number => (e.metrics[keepBest.by] ?? Number.NaN) * (keepBest.lowest ? -1 : 1);
      if (!(keepBest.by in metrics))
        throw new Error(
          `[train] the evaluation has no '${keepBest.by}' to keep the best by; it has ${Object.keys(metrics).join(', ') || 'nothing'}`,
        );
      // Before the evaluation is on record: a run that is killed in between makes and writes it again.
      if (evaluations.every((e) => !(score(e) >= score({ metrics }))))
        await saveModel(keepBest.path, keepBest.model(state), { config: { step, metrics: finiteOnly(metrics), run: checkpoint?.config } });
    }
    evaluations.push({ step, metrics });
  }

  /** A save that is due. A full disk does not end the run while the older checkpoint stands; the next save is tried in time. */
  async #saveOnTheWay(place: Place<S>): Promise<void> {
    try {
      await this.#save(place);
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
      process.emitWarning(`[train] the checkpoint stays at step ${this.#saved?.step}, training goes on: ${(error as Error).message}`);
    }
    this.#nextSave = performance.now() + this.#saveEveryMs;
  }

  /** @param stoppedBy why the run ends here, for the message when even this fails */
  async #save({ state, step, position }: Place<S>, stoppedBy?: unknown): Promise<void> {
    const { checkpoint, key } = this.#o;
    const evaluations = this.#history.evaluations.length;
    if (!checkpoint || (this.#saved?.step === step && this.#saved.evaluations === evaluations)) return;
    const bad = nonFiniteTensors(state).filter((name) => !this.#usual.has(name));
    if (bad.length) await this.#stop(`'${bad[0]}' is not finite after step ${step} of ${this.#o.steps}`, { state, step, position });
    try {
      await saveCheckpoint(checkpoint.path, { state: { key, state }, step, position, config: checkpoint.config, history: this.#history });
    } catch (error) {
      if (stoppedBy === undefined) throw error;
      const old = this.#saved === undefined ? 'there is no checkpoint' : `the checkpoint stays at step ${this.#saved.step}`;
      throw new Error(
        `[train] stopped at step ${step} (${String(stoppedBy)}), which could not be saved; ${old}: ${(error as Error).message}`,
        { cause: error },
      );
    }
    this.#saved = { step, evaluations };
  }

  /** Ends the run for a number that is not finite. The state is given up for a second run to the place where it began. */
  async #stop(what: string, { state, step }: Place<S>): Promise<never> {
    const { checkpoint } = this.#o;
    disposeTree(state);
    const failure = await this.#findFailure(step).catch((cause: unknown) => ({ cause }));
    const good = checkpoint && this.#saved && { path: checkpoint.path, step: this.#saved.step };
    const details = { step, op: undefined, ...failure, checkpoint: good };
    throw new NonFiniteError(what, details, this.#stepperOptions.schedule(details.step - 1));
  }

  async #findFailure(until: number): ReturnType<typeof findFailure> {
    const { checkpoint, signal } = this.#o;
    const from = checkpoint
      ? await this.#load(checkpoint.path)
      : { state: this.#copy?.restore() ?? (await this.#fresh()), step: 0, position: undefined };
    return findFailure((at: Place<S>) => this.#stepper(at), from, until, this.#usual, signal);
  }
}

function equalBytes(a: random.Key, b: random.Key): boolean {
  return Buffer.compare(a.rawData(), b.rawData()) === 0;
}

/** JSON has no NaN. */
function finiteOnly(metrics: Readonly<Record<string, number>>): Record<string, number | null> {
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, Number.isFinite(value) ? value : null]));
}
