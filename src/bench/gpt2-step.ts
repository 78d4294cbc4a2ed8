/** The train step of GPT-2 that bench/peers/pytorch/gpt2.py takes too: the same weights, batches, optimiser and schedule. */
import { AdamW, type AdamWState, Gpt2, type Gpt2Config, gpt2Sizes, mixedPrecision } from '../nn/index.ts';
import { type Compiled, compile, type Plan, type Tensor, tensor } from '../tensor/index.ts';
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
export function hashedGpt2(config: Gpt2Config): Gpt2 {
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

export class Gpt2Run {
  readonly step: Step;
  readonly recipe: Recipe;
  #state: State;
  #done = 0;

  constructor(name: RecipeName, compute: 'f32' | 'bf16') {
    this.recipe = recipes[name];
    const precision = mixedPrecision({ compute });
    const adamw = new AdamW({ beta1: 0.9, beta2: 0.95, weightDecay: 0.1 });
    this.step = compile(
      ({ model, optimizer }: State, { ids, next }: Batch, lr: Tensor) => {
        const [loss, gradients] = precision.valueAndGrad((m: Gpt2) => m.loss(ids, next))(model);
        const updated = adamw.update(model, gradients, optimizer, lr);
        return { state: { model: updated.model, optimizer: updated.state }, loss };
      },
      { donate: [0], name: 'GPT-2 step' },
    );
    const model = hashedGpt2(this.recipe.config);
    this.#state = { model, optimizer: adamw.init(model) };
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
