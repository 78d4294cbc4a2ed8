/** Optimisers as pure functions over trees: state in, state out. */
import {
  add,
  cast,
  div,
  full,
  isFloat,
  leaves,
  lerp,
  mapTree,
  minimum,
  mul,
  type Path,
  pow,
  sqrt,
  square,
  sub,
  sum,
  Tensor,
  tensor,
} from '../tensor/index.ts';

/** What one parameter does differently from the rest. */
export interface ParameterGroup {
  /** Factor on the learning rate (0 freezes). */
  lrScale?: number;
  weightDecay?: number;
}

export interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
  /** Settings by parameter; `path` is its place in the model, `rank` its number of axes. */
  group?: (path: Path, parameter: Tensor) => ParameterGroup;
}

export interface AdamWState<M> {
  /** Updates done, f32 []. */
  step: Tensor;
  m: M;
  v: M;
}

/** No weight decay for vectors (biases, norms), as the usual recipes have it. */
export const decayMatricesOnly =
  (weightDecay: number) =>
  (_: Path, p: Tensor): ParameterGroup => ({ weightDecay: p.rank > 1 ? weightDecay : 0 });

/**
 * AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2), bias-corrected.
 * 8 bytes of state per f32 parameter.
 */
export class AdamW {
  readonly #o: Required<Omit<AdamWOptions, 'group'>> & Pick<AdamWOptions, 'group'>;

  constructor(options: AdamWOptions = {}) {
    this.#o = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, ...options };
  }

  init<M>(model: M): AdamWState<M> {
    const zeros = (): M => mapTree(model, (t) => (isFloat(t.dtype) ? full(t.shape, 0) : undefined));
    return { step: tensor(0), m: zeros(), v: zeros() };
  }

  /**
   * One update. Parameters whose gradient is undefined stay.
   * @param lr learning rate: a tensor when it changes from step to step.
   */
  update<M>(model: M, gradients: M, state: AdamWState<M>, lr: Tensor | number): { model: M; state: AdamWState<M> } {
    const { beta1, beta2, eps, weightDecay, group } = this.#o;
    const step = add(state.step, 1);
    const correct1 = div(1, sub(1, pow(full([], beta1), step)));
    const correct2 = div(1, sub(1, pow(full([], beta2), step)));
    const next = mapTree(
      model,
      (p, path, g, m, v) => {
        if (!g || !m || !v) return { p, m, v };
        const own = group?.(path, p) ?? {};
        const rate = mul(lr, own.lrScale ?? 1);
        const g32 = cast(g, 'f32');
        const p32 = cast(p, 'f32');
        const m1 = add(mul(m, beta1), mul(g32, 1 - beta1));
        const v1 = add(mul(v, beta2), mul(square(g32), 1 - beta2));
        const update = div(mul(m1, correct1), add(sqrt(mul(v1, correct2)), eps));
        const decay = own.weightDecay ?? weightDecay;
        const p1 = sub(mul(p32, decay ? sub(1, mul(rate, decay)) : 1), mul(rate, update));
        return { p: cast(p1, p.dtype), m: m1, v: v1 };
      },
      gradients,
      state.m,
      state.v,
    );
    const pick = (k: 'p' | 'm' | 'v'): M => mapTriples(model, next, k);
    return { model: pick('p'), state: { step, m: pick('m'), v: pick('v') } };
  }
}

function mapTriples<M>(model: M, triples: M, k: 'p' | 'm' | 'v'): M {
  const walk = (a: unknown, b: unknown): unknown => {
    if (a instanceof Tensor) return (b as Record<string, unknown>)[k];
    if (Array.isArray(a)) return a.map((x, i) => walk(x, (b as unknown[])[i]));
    if (typeof a !== 'object' || a === null) return a;
    const out = Object.create(Object.getPrototypeOf(a)) as Record<string, unknown>;
    for (const key of Object.keys(a)) out[key] = walk((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]);
    return out;
  };
  return walk(model, triples) as M;
}

/** The 2-norm of all gradients together. */
export function globalNorm(gradients: unknown): Tensor {
  const squares = leaves(gradients).map((g) => sum(square(cast(g, 'f32'))));
  return sqrt(squares.reduce((a, b) => add(a, b), full([], 0)));
}

/** Gradients scaled so that their global norm is at most `maxNorm` (Pascanu et al. 2013), and the norm before. */
export function clipByGlobalNorm<G>(gradients: G, maxNorm: number): { gradients: G; norm: Tensor } {
  const norm = globalNorm(gradients);
  const scale = minimum(div(maxNorm, add(norm, 1e-6)), 1);
  return { gradients: mapTree(gradients, (g) => mul(g, cast(scale, g.dtype))), norm };
}

/** Exponential moving average of the parameters: decay * average + (1 - decay) * model. */
export function emaUpdate<M>(average: M, model: M, decay: number | Tensor): M {
  return mapTree(average, (a, _, p) => (isFloat(a.dtype) ? lerp(p!, a, decay) : p), model);
}
