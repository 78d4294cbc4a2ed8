/**
 * Mixed precision: the model computes in a narrow type over f32 parameters, and what f16 cannot represent is kept in range by a loss scale
 * (Micikevicius et al. 2018, arXiv 1710.03740). All of it is functions over trees, so it lies inside the compiled step.
 */
import {
  abs,
  add,
  cast,
  type DType,
  div,
  full,
  isFloat,
  leaves,
  less,
  lessEqual,
  mapTree,
  max,
  maximum,
  minimum,
  mul,
  type Path,
  Tensor,
  tensor,
  valueAndGrad,
  where,
} from '../tensor/index.ts';

export interface PrecisionOptions {
  compute: 'bf16' | 'f16' | 'f32';
  /** Parameters that stay as they are; default: vectors (biases and norms), which cost nothing. */
  keep?: (path: Path, parameter: Tensor) => boolean;
}

export interface MixedPrecision {
  readonly compute: DType;
  /** A model with its parameters in the narrow type: one cast a parameter, wherever it is used. For inputs too: a product of an f32 input is f32. */
  cast<M>(model: M): M;
  /**
   * As `valueAndGrad`, with the model cast on the way in. Gradients have the types of the parameters: what the products gave, widened. Norms,
   * softmax, attention and the losses compute in f32 whatever they read.
   */
  valueAndGrad<M, R extends unknown[], Out extends Tensor | readonly [Tensor, unknown]>(
    lossOf: (model: M, ...rest: R) => Out,
  ): (model: M, ...rest: R) => [Out, M];
}

/** Forward and backward in `compute`, parameters and optimiser in f32. bf16 has the range of f32 and needs no loss scale. */
export function mixedPrecision(options: PrecisionOptions): MixedPrecision {
  const { compute, keep = (_, p) => p.rank < 2 } = options;
  const castModel = <M>(model: M): M => mapTree(model, (p, path) => (isFloat(p.dtype) && !keep(path, p) ? cast(p, compute) : p));
  return {
    compute,
    cast: castModel,
    valueAndGrad: (lossOf) => valueAndGrad((model, ...rest) => lossOf(castModel(model), ...rest)),
  };
}

export interface LossScaleOptions {
  /** Default 2^16. */
  initial?: number;
  /** Factor after `interval` finite steps; default 2. */
  growth?: number;
  /** Factor after a step that overflowed; default 1/2. */
  backoff?: number;
  /** Finite steps in a row before the scale grows; default 2000. */
  interval?: number;
  /** Default 1. */
  minimum?: number;
  /** Default 2^24. */
  maximum?: number;
}

export interface LossScaleState {
  /** f32 []. */
  scale: Tensor;
  /** Finite steps since the scale last changed, i32 []. */
  finiteSteps: Tensor;
}

/** A loss scale that looks for the largest power of two without overflow (same paper, section 3.2). */
export class LossScale {
  readonly #o: Required<LossScaleOptions>;

  constructor(options: LossScaleOptions = {}) {
    this.#o = { initial: 2 ** 16, growth: 2, backoff: 0.5, interval: 2000, minimum: 1, maximum: 2 ** 24, ...options };
    const { growth, backoff, interval } = this.#o;
    if (!(growth >= 1 && backoff > 0 && backoff < 1 && interval >= 1))
      throw new RangeError(
        `[lossScale] growth ${growth} must be at least 1, backoff ${backoff} between 0 and 1, interval ${interval} at least 1`,
      );
  }

  init(): LossScaleState {
    return { scale: tensor(this.#o.initial), finiteSteps: tensor(Int32Array.of(0), { shape: [] }) };
  }

  /**
   * The loss, its gradients, whether all of them are finite (bool []), and the next state. The loss is multiplied by the scale before
   * differentiation and the gradients divided by it after. Where they are not finite, skip the step: `select(finite, next, before)`.
   */
  valueAndGrad<M, R extends unknown[]>(
    lossOf: (model: M, ...rest: R) => Tensor,
    precision: MixedPrecision,
  ): (state: LossScaleState, model: M, ...rest: R) => { loss: Tensor; gradients: M; finite: Tensor; state: LossScaleState } {
    return (state, model, ...rest) => {
      const scaled = precision.valueAndGrad((m: M, ...r: R): [Tensor, Tensor] => {
        const loss = cast(lossOf(m, ...r), 'f32');
        return [mul(loss, state.scale), loss];
      });
      const [[, loss], raw] = scaled(model, ...rest);
      const gradients = mapTree(raw, (g) => mul(cast(g, 'f32'), div(1, state.scale)));
      const finite = allFinite(gradients);
      return { loss, gradients, finite, state: this.next(state, finite) };
    };
  }

  /** Grows after `interval` finite steps, backs off after one that is not. */
  next({ scale, finiteSteps }: LossScaleState, finite: Tensor): LossScaleState {
    const { growth, backoff, interval, minimum: low, maximum: high } = this.#o;
    const steps = add(finiteSteps, 1);
    const grows = lessEqual(interval, steps);
    const after = where(grows, minimum(mul(scale, growth), high), scale);
    return {
      scale: where(finite, after, maximum(mul(scale, backoff), low)),
      finiteSteps: where(finite, where(grows, 0, steps), 0),
    };
  }
}

/** Whether no number of a tree of floats is a NaN or an infinity: bool []. */
export function allFinite(tree: unknown): Tensor {
  const tops = leaves(tree).map((t) => max(abs(cast(t, 'f32')))); // NaN wins a maximum
  return less(
    tops.reduce((a, b) => maximum(a, b), full([], 0)),
    Number.POSITIVE_INFINITY,
  );
}

/** `condition ? yes : no` for each tensor of two trees of one structure. condition: bool []. */
export function select<T>(condition: Tensor, yes: T, no: T): T {
  return mapTree(
    yes,
    (a, path, b) => {
      if (!(b instanceof Tensor)) throw new Error(`[select] ${path.join('.')} is a tensor on one side only; give trees of one structure`);
      return where(condition, a, b);
    },
    no,
  );
}
