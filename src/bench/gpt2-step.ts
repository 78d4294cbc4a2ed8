/** The train step of GPT-2 that bench/peers/pytorch/gpt2.py takes too: the same weights, batches, optimiser and schedule. */
import { AdamW, type AdamWState, Gpt2, type Gpt2Config, type Gpt2Options, gpt2Sizes, mixedPrecision } from '../nn/index.ts';
import { type Compiled, compile, empty, type Plan, type Tensor, tensor, typeOf, withDevice } from '../tensor/index.ts';
import { accumulate } from '../train/index.ts';
import { chains, Parameters } from './numbers.ts';

interface Recipe {
  config: Gpt2Config;
  batch: number;
  lr: number;
  /** Steps in which the rate rises to `lr`. */
  warmup: number;
}
export const recipes = {
  tiny: { config: { vocabulary: 512, context: 64, width: 128, layers: 4, heads: 4 }, batch: 8, lr: 1e-3, warmup: 10 },
  small: { config: gpt2Sizes.small, batch: 16, lr: 3e-4, warmup: 100 },
} as const satisfies Record<string, Recipe>;
export type RecipeName = keyof typeof recipes;

/** The hash-defined start: sd 0.018, a quarter of it where a residual branch ends. */
function hashedGpt2(config: Gpt2Config): Gpt2 {
  const p = new Parameters();
  return Gpt2.from(config, (name, shape) => {
    if (shape.length < 2) return p.fill(name.endsWith('.bias') ? 0 : 1, ...shape);
    return p.weight(shape, name.endsWith('c_proj.weight') ? -15 : -13);
  });
}

interface State {
  model: Gpt2;
  optimizer: AdamWState<Gpt2>;
}
interface Batch {
  ids: Tensor;
  next: Tensor;
}
type Step = Compiled<[State, Batch, Tensor], { state: State; loss: Tensor }>;

const adamw = new AdamW({ beta1: 0.9, beta2: 0.95, weightDecay: 0.1 });
const stateOf = (model: Gpt2): State => ({ model, optimizer: adamw.init(model) });

interface StepOptions extends Gpt2Options {
  compute: 'f32' | 'bf16';
  /** Micro-batches; default 1. */
  parts?: number;
}
function stepOf({ compute, parts = 1, ...how }: StepOptions): Step {
  const of = mixedPrecision({ compute }).valueAndGrad((m: Gpt2, { ids, next }: Batch) => m.loss(ids, next, how));
  return compile(
    ({ model, optimizer }, batch, lr) => {
      const [loss, gradients] = accumulate(of, parts)(model, batch);
      const updated = adamw.update(model, gradients, optimizer, lr);
      return { state: { model: updated.model, optimizer: updated.state }, loss };
    },
    { donate: [0], name: 'GPT-2 step' },
  );
}

/** What a step in bf16 with a batch of that many rows takes on a device with every fused kernel. */
export function planOf(name: RecipeName, rows: number, how: Omit<StepOptions, 'compute'>): Plan {
  const { config } = recipes[name];
  return withDevice('null', () => {
    const model = Gpt2.from(config, (_, shape) => empty(typeOf(shape, 'f32')));
    const ids = empty(typeOf([rows, config.context], 'i32'));
    return stepOf({ compute: 'bf16', ...how }).plan(stateOf(model), { ids, next: ids }, tensor(0));
  });
}

export class Gpt2Run {
  readonly step: Step;
  readonly recipe: Recipe;
  #state: State;
  #done = 0;

  constructor(name: RecipeName, compute: 'f32' | 'bf16') {
    this.recipe = recipes[name];
    this.step = stepOf({ compute });
    this.#state = stateOf(hashedGpt2(this.recipe.config));
  }

  /** The batch of a step. */
  batch(step: number): Batch {
    const { batch, config } = this.recipe;
    return chains(step * batch, batch, config.context, config.vocabulary);
  }
  get tokens(): number {
    return this.recipe.batch * this.recipe.config.context;
  }
  plan(batch: Batch): Plan {
    return this.step.plan(this.#state, batch, tensor(0));
  }

  /** One step; the loss before it, which waits for the device. */
  run(batch: Batch): number {
    using lr = this.#rate();
    const { state, loss } = this.step(this.#state, batch, lr);
    return this.#finish(state, loss);
  }
  profile(batch: Batch): { loss: number; calls: ReturnType<Step['profile']>['calls'] } {
    using lr = this.#rate();
    const { result, calls } = this.step.profile(this.#state, batch, lr);
    return { loss: this.#finish(result.state, result.loss), calls };
  }
  #rate(): Tensor {
    const { lr, warmup } = this.recipe;
    return tensor(lr * Math.min(1, (this.#done + 1) / warmup));
  }
  #finish(state: State, loss: Tensor): number {
    this.#state = state;
    this.#done++;
    const value = loss.item();
    loss.dispose();
    return value;
  }
}
