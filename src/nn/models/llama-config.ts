/** The configuration of a Llama, and how it is read from the config.json beside published weights. */

/** How the rotary frequencies are stretched beyond the length that a model was trained on. */
export type RopeScaling =
  | { kind: 'none' }
  /** Positions divided by `factor` (Chen et al. 2023, arXiv 2306.15595). */
  | { kind: 'linear'; factor: number }
  /** Long waves divided by `factor`, short ones kept, those between blended (Llama 3.1; Dubey et al. 2024, arXiv 2407.21783). */
  | { kind: 'llama3'; factor: number; lowFactor: number; highFactor: number; trainedContext: number };

export interface LlamaConfig {
  vocabulary: number;
  /** The longest sequence that the model is made for. */
  context: number;
  width: number;
  /** Hidden features of the MLPs. */
  hidden: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headWidth: number;
  eps: number;
  ropeBase: number;
  ropeScaling: RopeScaling;
  /** Whether the head is the token table. */
  tied: boolean;
}

/** Frequencies of the E/2 pairs of features, in radians a position. */
export function ropeFrequencies({
  headWidth,
  ropeBase,
  ropeScaling: s,
}: Pick<LlamaConfig, 'headWidth' | 'ropeBase' | 'ropeScaling'>): Float32Array {
  return Float32Array.from({ length: headWidth / 2 }, (_, i) => {
    const f = ropeBase ** ((-2 * i) / headWidth);
    if (s.kind === 'none') return f;
    if (s.kind === 'linear') return f / s.factor;
    const turns = (s.trainedContext * f) / (2 * Math.PI); // in the context of the training
    const keep = Math.min(1, Math.max(0, (turns - s.lowFactor) / (s.highFactor - s.lowFactor)));
    return keep * f + ((1 - keep) * f) / s.factor;
  });
}

type Fields = Readonly<Record<string, unknown>>;
const isFields = (x: unknown): x is Fields => typeof x === 'object' && x !== null && !Array.isArray(x);
const shown = (x: unknown): string => (x === undefined ? 'missing' : JSON.stringify(x));

/**
 * A config.json of `model_type` llama, parsed. Fields that change the computation and are not supported are refused, others ignored.
 * @throws Error that names the field, its value and what is allowed.
 */
export function readLlamaConfig(json: unknown): LlamaConfig {
  if (!isFields(json)) throw new Error(`[llama] config.json must hold an object, not ${shown(json).slice(0, 40)}`);
  const fault = (field: string, value: unknown, allowed: string): never => {
    throw new Error(`[llama] config.json: ${field} is ${shown(value)}; it must be ${allowed}`);
  };
  const number = (from: Fields, field: string, otherwise?: number): number => {
    const x = from[field] ?? otherwise;
    return typeof x === 'number' && Number.isFinite(x) && x > 0 ? x : fault(field, x, 'a number above 0');
  };
  const whole = (field: string, otherwise?: number): number => {
    const x = number(json, field, otherwise);
    return Number.isInteger(x) && x < 2 ** 31 ? x : fault(field, x, 'a whole number under 2^31');
  };
  const only = (field: string, allowed: unknown): void => {
    const x = json[field] ?? allowed;
    if (x !== allowed) fault(field, x, `${shown(allowed)}: other values are not supported`);
  };

  if (json.model_type !== 'llama') fault('model_type', json.model_type, '"llama"');
  only('hidden_act', 'silu');
  only('attention_bias', false);
  only('mlp_bias', false);
  const tied = json.tie_word_embeddings ?? false;
  if (typeof tied !== 'boolean') fault('tie_word_embeddings', tied, 'true or false');

  const width = whole('hidden_size');
  const heads = whole('num_attention_heads');
  const kvHeads = whole('num_key_value_heads', heads);
  if (heads % kvHeads) fault('num_key_value_heads', kvHeads, `a divisor of the ${heads} attention heads`);
  if (json.head_dim == null && width % heads) fault('num_attention_heads', heads, `a divisor of hidden_size ${width}, or head_dim given`);
  const headWidth = whole('head_dim', width / heads);
  if (headWidth % 2) fault('head_dim', headWidth, 'even: rotary positions turn pairs of features');
  const context = whole('max_position_embeddings', 2048);

  // newer files keep the base beside the scaling
  const rope = json.rope_parameters ?? json.rope_scaling ?? {};
  if (!isFields(rope)) return fault('rope_scaling', rope, 'an object');
  return {
    vocabulary: whole('vocab_size'),
    context,
    width,
    hidden: whole('intermediate_size'),
    layers: whole('num_hidden_layers'),
    heads,
    kvHeads,
    headWidth,
    eps: number(json, 'rms_norm_eps', 1e-6),
    ropeBase: number(rope, 'rope_theta', number(json, 'rope_theta', 10000)),
    ropeScaling: scaling(),
    tied: tied as boolean,
  };

  function scaling(): RopeScaling {
    const at = rope as Fields;
    const kind = at.rope_type ?? at.type ?? 'default';
    if (kind === 'default') return { kind: 'none' };
    if (kind === 'linear') return { kind, factor: number(at, 'factor') };
    if (kind !== 'llama3') return fault('rope_scaling.rope_type', kind, '"default", "linear" or "llama3"');
    const lowFactor = number(at, 'low_freq_factor');
    const highFactor = number(at, 'high_freq_factor');
    if (highFactor <= lowFactor) fault('rope_scaling.high_freq_factor', highFactor, `above low_freq_factor ${lowFactor}`);
    return { kind, factor: number(at, 'factor'), lowFactor, highFactor, trainedContext: number(at, 'original_max_position_embeddings') };
  }
}
