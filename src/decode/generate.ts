/** Generation: the prompt in chunks, then tokens that stay on the device; the host reads some at a time. */
import {
  add,
  type Compiled,
  compile,
  concat,
  type DType,
  disposeTree,
  iota,
  random,
  reshape,
  type Tensor,
  take,
  tensor,
  treeBytes,
} from '../tensor/index.ts';
import { type CacheShape, FullCache, type KvCache } from './cache.ts';
import { checkSampling, type SamplingOptions, sample } from './sampling.ts';

/** A language model that can read a sequence in pieces. */
export interface Decoder {
  readonly cacheShape: CacheShape;
  /** The longest sequence that it is made for. */
  readonly context: number;
  /** Of its activations. */
  readonly dtype: DType;
  /** ids [B, T] at positions [T] -> [B, T, width]; `attend` replaces attention among the T tokens. */
  features(ids: Tensor, positions: Tensor, attend: (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor): Tensor;
  /** [..., width] -> [..., vocabulary]. */
  logits(features: Tensor): Tensor;
}

export interface GenerateOptions extends SamplingOptions {
  maxNewTokens: number;
  /** Tokens that end the generation; they are not yielded. */
  stop?: readonly number[];
  signal?: AbortSignal;
  /** Of the random choices; the same seed gives the same tokens. Default 0. */
  seed?: number;
  /** Tokens of prompt and answer together that there is room for; default what this call needs. The same capacity reuses the compiled programs. */
  capacity?: number;
  /** Tokens that one program makes before the host looks at them; default 16. */
  tokensPerCall?: number;
  /** Tokens of the prompt that are read at once; default 128, less for shorter prompts. */
  prefillChunk?: number;
}

interface State {
  cache: KvCache;
  /** The latest token, not yet in the cache. i32 [1, 1]. */
  id: Tensor;
  key: random.Key;
}

/** What a generation takes, in bytes, before it runs. */
export interface GenerationPlan {
  /** Tokens that the cache has room for: prompt, answer, and what chunks round up to. */
  capacity: number;
  kvBytes: number;
  weightBytes: number;
  /** Weights, cache and the temporaries of the program that needs most. */
  peakBytes: number;
}

interface Sizes {
  capacity: number;
  chunk: number;
  perCall: number;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

function sizesOf(model: Decoder, prompt: number, options: GenerateOptions): Sizes {
  const { maxNewTokens, tokensPerCall = 16, prefillChunk = 128, capacity = prompt + maxNewTokens } = options;
  for (const [name, n] of Object.entries({ maxNewTokens, tokensPerCall, prefillChunk, capacity }))
    if (!(Number.isInteger(n) && n >= 1)) throw new RangeError(`[generate] ${name} ${n} must be a whole number from 1 on`);
  checkSampling(options);
  const wanted = prompt + maxNewTokens;
  if (prompt < 1) throw new RangeError('[generate] the prompt is empty; give at least one token');
  if (wanted > capacity)
    throw new RangeError(
      `[generate] ${prompt} prompt tokens and ${maxNewTokens} new ones exceed the capacity of ${capacity}; raise capacity to ${wanted} or lower maxNewTokens`,
    );
  if (wanted > model.context)
    throw new RangeError(
      `[generate] ${prompt} prompt tokens and ${maxNewTokens} new ones exceed the model's context of ${model.context}; shorten the prompt or lower maxNewTokens`,
    );
  const chunk = Math.min(prefillChunk, Math.max(16, 2 ** Math.ceil(Math.log2(prompt))));
  const perCall = Math.min(tokensPerCall, maxNewTokens);
  // the last call may make more tokens than are wanted, and the last chunk of the prompt is padded
  return { capacity: roundUp(capacity + perCall, chunk), chunk, perCall };
}

/** Bytes of a full cache. */
export const kvBytes = ({ layers, kvHeads, headWidth }: CacheShape, capacity: number, itemBytes: number, batch = 1): number =>
  2 * layers * batch * capacity * kvHeads * headWidth * itemBytes;

/** One pass over tokens, and the token that follows the last of them. */
function advance(model: Decoder, { cache, key }: State, ids: Tensor, sampling: SamplingOptions, counted?: Tensor): State {
  const T = ids.shape[1]!;
  const pass = cache.extend(T);
  const features = model.features(ids, add(iota(T), cache.length), (...qkv) => pass.attend(...qkv));
  const next = pass.finish(counted);
  const last = counted ? take(features, reshape(add(counted, -1), [1]), 1) : features;
  const logits = reshape(model.logits(last), [1, -1]);
  return { cache: next, id: reshape(sample(logits, random.foldIn(key, next.length), sampling), [1, 1]), key };
}

type Prefill<M> = Compiled<[M, State, Tensor, Tensor], State>;
type Decode<M> = Compiled<[M, State], { state: State; ids: Tensor }>;
const programs = new Map<string, { prefill: Prefill<Decoder>; decode: Decode<Decoder> }>();

/** The two programs of a way to sample. They are kept: each is traced once for every size of model and cache. */
function programsFor(
  { temperature = 0, topK, topP }: SamplingOptions,
  perCall: number,
): { prefill: Prefill<Decoder>; decode: Decode<Decoder> } {
  const sampling = { temperature, ...(topK === undefined ? {} : { topK }), ...(topP === undefined ? {} : { topP }) };
  const key = JSON.stringify([sampling, perCall]);
  let made = programs.get(key);
  if (!made) {
    made = {
      prefill: compile((model: Decoder, state: State, ids: Tensor, counted: Tensor) => advance(model, state, ids, sampling, counted), {
        donate: [1],
        name: 'prefill',
      }),
      decode: compile(
        (model: Decoder, start: State) => {
          let state = start;
          const ids: Tensor[] = [];
          for (let i = 0; i < perCall; i++) {
            state = advance(model, state, state.id, sampling);
            ids.push(reshape(state.id, [1]));
          }
          return { state, ids: concat(ids) };
        },
        { donate: [1], name: 'decode' },
      ),
    };
    programs.set(key, made);
  }
  return made;
}

function start(model: Decoder, { capacity }: Sizes, seed: number): State {
  return {
    cache: FullCache.empty(model.cacheShape, capacity, model.dtype),
    id: tensor(Int32Array.of(0), { shape: [1, 1] }),
    key: random.key(seed),
  };
}

/** What `generate` would take for a prompt of so many tokens. Allocates the cache for a moment; runs nothing. */
export function planGeneration(model: Decoder, prompt: number, options: GenerateOptions): GenerationPlan {
  const sizes = sizesOf(model, prompt, options);
  const { prefill, decode } = programsFor(options, sizes.perCall);
  const state = start(model, sizes, 0);
  const ids = tensor(new Int32Array(sizes.chunk), { shape: [1, sizes.chunk] });
  const counted = tensor(Int32Array.of(1), { shape: [] });
  try {
    const peaks = [prefill.plan(model, state, ids, counted), decode.plan(model, state)].map((p) => p.peakBytes);
    return {
      capacity: sizes.capacity,
      kvBytes: treeBytes(state.cache) - state.cache.length.bytes,
      weightBytes: treeBytes(model),
      peakBytes: Math.max(...peaks),
    };
  } finally {
    disposeTree([state, ids, counted]);
  }
}

/**
 * Yields the tokens that follow `prompt`. Greedy by default; with a temperature, the same seed gives the same tokens, however many are made per
 * call. Stops at `maxNewTokens`, at a token of `stop`, or with the reason of `signal`. The memory is freed when the iteration ends.
 */
export async function* generate(
  model: Decoder,
  prompt: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<number, void, undefined> {
  const { maxNewTokens, signal, seed = 0 } = options;
  const sizes = sizesOf(model, prompt.length, options);
  const { prefill, decode } = programsFor(options, sizes.perCall);
  const stop = new Set(options.stop);
  let state = start(model, sizes, seed);
  try {
    for (let at = 0; at < prompt.length; at += sizes.chunk) {
      signal?.throwIfAborted();
      const piece = prompt.slice(at, at + sizes.chunk);
      const ids = tensor(
        Int32Array.from({ length: sizes.chunk }, (_, i) => piece[i] ?? 0),
        { shape: [1, sizes.chunk] },
      );
      const counted = tensor(Int32Array.of(piece.length), { shape: [] });
      try {
        state = await prefill.async(model, state, ids, counted);
      } finally {
        disposeTree([ids, counted]);
      }
    }
    let made = 0;
    let tokens: readonly number[] = [Number(state.id.item())];
    while (true) {
      for (const token of tokens) {
        if (stop.has(token)) return;
        yield token;
        if (++made === maxNewTokens) return;
      }
      signal?.throwIfAborted();
      const next = await decode.async(model, state);
      state = next.state;
      tokens = Array.from(next.ids.data(), Number);
      next.ids.dispose();
    }
  } finally {
    disposeTree(state);
  }
}
