/** One training step after another: a device with a queue has its next step before it ends this one, and the next batch is prepared meanwhile. */
import type { DataPosition } from '../data/index.ts';
import type { Schedule } from '../nn/index.ts';
import {
  type Compiled,
  compile,
  type Device,
  disposeTree,
  fetchData,
  leaves,
  random,
  Tensor,
  tensor,
  treeBytes,
  withDevice,
} from '../tensor/index.ts';
import { isPosition } from './checkpoint.ts';

/** What a compiled step returns. */
export interface StepResult<S> {
  state: S;
  /** Scalar. */
  loss: Tensor;
  /** Scalars to report, by name. */
  metrics?: Readonly<Record<string, Tensor>>;
}

/**
 * One step of training, compiled with `{ donate: [0] }` so that the new state takes the memory of the old one.
 * `key` (i32 [2]) is another one at every step; `lr` is an f32 scalar.
 */
export type TrainStep<S, B> = Compiled<[state: S, batch: B, key: random.Key, lr: Tensor], StepResult<S>>;

/** What a source of batches yields: with each, the place where the next one begins. */
export interface Placed {
  position: DataPosition;
}

/** What the steps of a run are made of. */
export interface StepperOptions<S, B, H extends Placed> {
  step: TrainStep<S, B>;
  /** Batches from a place on (undefined: from the beginning). The same place must give the same batches. */
  batches: (from: DataPosition | undefined) => AsyncIterable<H> | Iterable<H>;
  /** The tensors of a batch. New ones at every call: they are freed after their step. */
  prepare: (item: H) => B | Promise<B>;
  schedule: Schedule;
  steps: number;
}

/** A place in a run. */
export interface Place<S> {
  state: S;
  /** Steps done. */
  step: number;
  position: DataPosition | undefined;
}

export interface StepReport {
  /** Steps done with this one. */
  step: number;
  loss: number;
  lr: number;
  metrics: Record<string, number>;
  /** Length of the first axis of the batch's first tensor. */
  samples: number;
}

interface Ready<B> {
  batch: B;
  position: DataPosition;
}

/** A device's queue is given this much work, so that it goes on when the event loop is late, in two to eight steps. */
const queueMs = 20;
const fewestQueued = 2;
const mostQueued = 8;

export class Stepper<S, B, H extends Placed> implements AsyncDisposable {
  /** False while a step is taken and after one has failed: the state is then neither the old nor the new one. */
  intact = true;
  /** Of steps taken, oldest first: what will be known of them. */
  readonly #underWay: Promise<StepReport>[] = [];
  /** Between the ends of two steps, about, and when the latest ended. */
  #stepMs = queueMs;
  #ended = Number.NaN;
  #place: Place<S>;
  readonly #o: StepperOptions<S, B, H>;
  readonly #device: Device;
  readonly #key: random.Key;
  readonly #keyOf = compile((key: random.Key, step: Tensor) => random.foldIn(key, step), { name: 'key of a step' });
  readonly #items: AsyncIterator<H> | Iterator<H>;
  #ahead: Promise<Ready<B>> | undefined;

  /** Takes the state over; `key` stays the caller's. */
  constructor(options: StepperOptions<S, B, H>, from: Place<S>, key: random.Key) {
    this.#o = options;
    this.#place = from;
    this.#key = key;
    this.#device = key.storage.device;
    const source = options.batches(from.position);
    this.#items = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  get place(): Readonly<Place<S>> {
    return this.#place;
  }

  /** Steps that are taken and not reported yet. */
  get underWay(): number {
    return this.#underWay.length;
  }
  /** Whether a report should be taken before the next step. */
  get full(): boolean {
    const depth = this.#device.fetch ? Math.min(mostQueued, Math.max(fewestQueued, Math.ceil(queueMs / this.#stepMs))) : 1;
    return this.#underWay.length >= depth;
  }

  /**
   * Bytes at the worst moment of a step: its plan, and the next batch beside it (a queue may hold batches of further steps). Draws the first
   * batch.
   */
  async plannedPeakBytes(): Promise<number> {
    const { args } = await this.#arguments();
    const [, batch, key, lr] = args;
    const bytes = this.#o.step.plan(...args).peakBytes + treeBytes(batch);
    disposeTree([key, lr]);
    return bytes;
  }

  /** Takes one step: to its end, or as far as the device's queue. Other work of the process goes on meanwhile. */
  async next(): Promise<void> {
    const { args, position, rate } = await this.#arguments();
    const [state, batch, key, lr] = args;
    const step = this.#place.step + 1;
    const samples = leaves(batch)[0]?.shape[0] ?? 1;
    this.intact = false;
    const running = this.#device.fetch ? this.#o.step.enqueue(...args) : this.#o.step.async(...args);
    this.#ahead = undefined;
    if (step < this.#o.steps) this.#fetch(step);
    const result = await running;
    if (!(result?.loss instanceof Tensor) || result.state === undefined)
      throw new TypeError('[train] the step returns no state, or no loss that is a tensor; return { state, loss }');
    // A donated state is gone already; of one that was not donated, the result has its own handles.
    disposeTree([state, batch, key, lr]);
    this.#place = { state: result.state, step, position };
    this.intact = true;
    const report = this.#report(result, { step, lr: rate, samples });
    report.catch(() => {}); // thrown where it is asked for
    this.#underWay.push(report);
  }

  async #report({ loss, metrics = {} }: StepResult<S>, known: Pick<StepReport, 'step' | 'lr' | 'samples'>): Promise<StepReport> {
    const names = Object.keys(metrics);
    const scalars = [loss, ...Object.values(metrics)];
    const found = await fetchData(scalars).finally(() => disposeTree(scalars));
    const now = performance.now();
    if (this.#ended) this.#stepMs += 0.2 * (now - this.#ended - this.#stepMs);
    this.#ended = now;
    const numbers = scalars.map((t, i) => (t.size === 1 ? found[i]![0]! : t.item()));
    return { ...known, loss: numbers[0]!, metrics: Object.fromEntries(names.map((name, i) => [name, numbers[i + 1]!])) };
  }

  /** The oldest step that is under way, when it is done. */
  async report(): Promise<StepReport> {
    try {
      return await this.#underWay.shift()!;
    } catch (error) {
      this.intact = false;
      throw error;
    }
  }

  /** The op of the next step whose result is the first that is not finite. Takes no step. */
  async findNonFinite(): Promise<string | undefined> {
    const { args } = await this.#arguments();
    const [, , key, lr] = args;
    try {
      return this.#o.step.findNonFinite(...args);
    } finally {
      disposeTree([key, lr]);
    }
  }

  /** Ends the source and frees what was prepared. The state stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#underWay);
    const ahead = await this.#ahead?.catch(() => undefined);
    if (ahead) disposeTree(ahead.batch);
    await this.#items.return?.();
  }

  async #arguments(): Promise<{ args: Parameters<TrainStep<S, B>>; position: DataPosition; rate: number }> {
    const { batch, position } = await this.#fetch(this.#place.step);
    const rate = this.#o.schedule(this.#place.step);
    const [key, lr] = withDevice(this.#device, () => {
      using step = tensor(Int32Array.of(this.#place.step), { shape: [] });
      return [this.#keyOf.enqueue(this.#key, step), tensor(rate)] as const;
    });
    return { args: [this.#place.state, batch, key, lr], position, rate };
  }

  /** The batch after step `step`. */
  #fetch(step: number): Promise<Ready<B>> {
    if (!this.#ahead) {
      this.#ahead = this.#draw(step);
      this.#ahead.catch(() => {}); // its error is thrown when its turn comes
    }
    return this.#ahead;
  }

  async #draw(step: number): Promise<Ready<B>> {
    const next = await this.#items.next();
    if (next.done) {
      throw new Error(
        `[train] the batches ended after step ${step} of ${this.#o.steps}; let them go on (no \`epochs\`), or lower the steps`,
      );
    }
    const { position } = next.value;
    if (!isPosition(position))
      // a checkpoint with it could not be gone on from
      throw new TypeError(
        `[train] a batch's position is ${JSON.stringify(position)}; give { seed, epoch, index }, whole numbers that say where the next one begins`,
      );
    return { batch: await withDevice(this.#device, () => this.#o.prepare(next.value)), position };
  }
}
