/** Generation: the prompt in chunks, then tokens that stay on the device; the host reads some at a time. */
import {
  add,
  type Compiled,
  compile,
  concat,
  type Device,
  type DType,
  defaultDevice,
  disposeTree,
  fetchData,
  iota,
  leaves,
  type Rotation,
  random,
  reshape,
  rotationOf,
  type Tensor,
  take,
  tensor,
  treeBytes,
  withDevice,
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
  /** How far queries and keys turn at positions i32 [T]. */
  rotation(positions: Tensor): Rotation;
  /** ids [B, T] at the positions of `turn` -> [B, T, width]; `attend` replaces attention among the T tokens. */
  features(ids: Tensor, turn: Rotation, attend: (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor): Tensor;
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
  /** Tokens of the prompt that are read at once; default 512, less for shorter prompts. */
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
  const { maxNewTokens, tokensPerCall = 16, prefillChunk = 512, capacity = prompt + maxNewTokens } = options;
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
function advance(model: Decoder, { cache, key }: State, ids: Tensor, turn: Rotation, sampling: SamplingOptions, counted?: Tensor): State {
  const pass = cache.extend(ids.shape[1]!);
  const features = model.features(ids, turn, (...qkv) => pass.attend(...qkv));
  const next = pass.finish(counted);
  const last = counted ? take(features, reshape(add(counted, -1), [1]), 1) : features;
  const logits = reshape(model.logits(last), [1, -1]);
  return { cache: next, id: reshape(sample(logits, random.foldIn(key, next.length), sampling), [1, 1]), key };
}

/** The state after a call and the tokens that it made, in memory of their own: the state is donated to the next call, maybe before they are read. */
interface Made {
  state: State;
  /** i32 [n]. */
  ids: Tensor;
}
interface Programs {
  prefill: Compiled<[Decoder, State, Tensor, Tensor], Made>;
  decode: Compiled<[Decoder, State], Made>;
}
const programs = new Map<string, Programs>();

/** The two programs of a way to sample. They are kept: each is traced once for every size of model and cache. */
function programsFor({ temperature = 0, topK, topP }: SamplingOptions, perCall: number): Programs {
  const sampling = { temperature, ...(topK === undefined ? {} : { topK }), ...(topP === undefined ? {} : { topP }) };
  const key = JSON.stringify([sampling, perCall]);
  let made = programs.get(key);
  if (!made) {
    const call = (model: Decoder, start: State, tokens: number, ids?: Tensor, counted?: Tensor): Made => {
      let state = start;
      const made: Tensor[] = [];
      const T = ids?.shape[1] ?? 1;
      const turns = model.rotation(add(iota(tokens * T), start.cache.length)); // of all passes, in as many launches as of one
      for (let i = 0; i < tokens; i++) {
        state = advance(model, state, ids ?? state.id, rotationOf(turns, i * T, (i + 1) * T), sampling, counted);
        made.push(reshape(state.id, [1]));
      }
      return { state, ids: concat(made) };
    };
    made = {
      prefill: compile((model: Decoder, state: State, ids: Tensor, counted: Tensor) => call(model, state, 1, ids, counted), {
        donate: [1],
        name: 'prefill',
      }),
      decode: compile((model: Decoder, state: State) => call(model, state, perCall), { donate: [1], name: 'decode' }),
    };
    programs.set(key, made);
  }
  return made;
}

const homeOf = (model: Decoder): Device => leaves(model)[0]?.storage.device ?? defaultDevice();

function start(model: Decoder, { capacity }: Sizes, seed: number): State {
  return withDevice(homeOf(model), () => ({
    cache: FullCache.empty(model.cacheShape, capacity, model.dtype),
    id: tensor(Int32Array.of(0), { shape: [1, 1] }),
    key: random.key(seed),
  }));
}

/** Calls of a generation: a device with a queue is given the next one while the host looks at the tokens of the one before. */
class Calls {
  readonly depth: number;
  state: State;
  /** Tokens of the calls so far that were not taken, oldest first: known when their call has ended, whatever was put behind it. */
  readonly #made: Promise<number[]>[] = [];
  /** The latest call of each program on devices without a queue: there, generations take turns. */
  static readonly #latest = new WeakMap<object, Promise<unknown>>();

  constructor(state: State, device: Device) {
    this.state = state;
    this.depth = device.fetch ? 2 : 1;
  }
  get waiting(): number {
    return this.#made.length;
  }
  async put<A extends unknown[]>(program: Compiled<[Decoder, State, ...A], Made>, model: Decoder, ...more: A): Promise<void> {
    if (this.depth > 1) this.#keep(program.enqueue(model, this.state, ...more));
    else {
      const before = Calls.#latest.get(program);
      const mine = (async () => {
        await before;
        this.#keep(await program.async(model, this.state, ...more));
      })();
      Calls.#latest.set(
        program,
        mine.catch(() => {}),
      );
      await mine;
    }
  }
  #keep({ state, ids }: Made): void {
    this.state = state;
    const tokens = fetchData([ids]).then(([found]) => Array.from(found!, Number));
    tokens.catch(() => {}); // thrown where they are taken
    this.#made.push(tokens);
    ids.dispose();
  }
  /** The tokens of the oldest call. */
  take(): Promise<number[]> {
    return this.#made.shift()!;
  }
  dispose(): void {
    disposeTree(this.state);
  }
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
  const wrong = Array.from(prompt).findIndex((id) => !(Number.isInteger(id) && id >= 0));
  if (wrong >= 0) throw new RangeError(`[generate] token ${wrong} of the prompt is ${prompt[wrong]}; give ids, whole numbers from 0`);
  const sizes = sizesOf(model, prompt.length, options);
  const { prefill, decode } = programsFor(options, sizes.perCall);
  const stop = new Set(options.stop);
  const device = homeOf(model);
  const calls = new Calls(start(model, sizes, seed), device);
  try {
    for (let at = 0; at < prompt.length; at += sizes.chunk) {
      signal?.throwIfAborted();
      if (calls.waiting === calls.depth) await calls.take();
      const piece = prompt.slice(at, at + sizes.chunk);
      const ids = tensor(
        Int32Array.from({ length: sizes.chunk }, (_, i) => piece[i] ?? 0),
        { shape: [1, sizes.chunk], device },
      );
      const counted = tensor(Int32Array.of(piece.length), { shape: [], device });
      try {
        await calls.put(prefill, model, ids, counted);
      } finally {
        disposeTree([ids, counted]);
      }
    }
    while (calls.waiting > 1) await calls.take(); // what would follow a piece of the prompt
    let made = 0;
    for (let asked = 1; ; ) {
      for (; calls.waiting < calls.depth && asked < maxNewTokens; asked += sizes.perCall) await calls.put(decode, model);
      for (const token of await calls.take()) {
        if (stop.has(token)) return;
        yield token;
        if (++made === maxNewTokens) return;
      }
      signal?.throwIfAborted();
    }
  } finally {
    calls.dispose();
  }
}
