/**
 * A Llama of 1.36e9 random bf16 weights (width 2048, 24 layers, 32 heads, MLP 5632, 32000 tokens) answers prompts of 128 and 4096 tokens with 256 at batch 1, and begins to answer one of 2048.
 * The limit is what a copy's bandwidth allows: every weight but the token table is read once a token, and every key and value so far. Its attention
 * over 4096 keys is measured by itself, too, beside a copy that moves as many bytes.
 */
import { generate, planGeneration } from '../../decode/index.ts';
import type { CudaDevice } from '../../device/index.ts';
import { initialize, Llama, type LlamaConfig } from '../../nn/index.ts';
import { decodeAttention, defaultDevice, type random, split, type Tensor, tensor, transpose, treeBytes } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import { median } from '../../train/index.ts';
import type { Figures, Section } from '../section.ts';
import { copyBandwidth, copyMicroseconds, drawn, type Operand } from './memory.ts';
import { replayable, walksOf } from './replay.ts';

const config: LlamaConfig = {
  vocabulary: 32000,
  context: 8192,
  width: 2048,
  hidden: 5632,
  layers: 24,
  heads: 32,
  kvHeads: 32,
  headWidth: 64,
  eps: 1e-6,
  ropeBase: 10000,
  ropeScaling: { kind: 'none' },
  tied: false,
};
const [PROMPT, LONG_PROMPT, KEYS, TOKENS, REPS] = [128, 2048, 4096, 256, 5];

/** GPU time of one query's attention over the keys of a layer, and the bytes of these and their values. */
function attentionMicroseconds(device: CudaDevice): { us: number; bytes: number } {
  const { heads, kvHeads, headWidth } = config;
  const operands: Operand[] = [
    [[1, 1, heads, headWidth], 'bf16'],
    [[1, 2 * kvHeads, KEYS, headWidth], 'bf16'], // as a cache keeps them
  ];
  const bytes = 2 * KEYS * 2 * kvHeads * headWidth;
  const length = tensor(Int32Array.of(KEYS), { shape: [] });
  const sets = drawn(device, operands, bytes).map((xs) => [...xs, length]);
  const attend = (q: Tensor, cache: Tensor, n: Tensor): Tensor[] => {
    const [keys, values] = split(transpose(cache, 1, 2), 2, 2) as [Tensor, Tensor];
    return [decodeAttention(q, keys, values, n)];
  };
  const types = [...operands.map(([shape, dtype]) => typeOf(shape, dtype)), length.type];
  return { us: replayable(device, attend as (...xs: Tensor[]) => Tensor[], types).microseconds(sets, walksOf(sets.length)), bytes };
}

export const section: Section = {
  title: 'decode of a 1.36B Llama, batch 1, bf16 / transformers with a static cache',
  peer: 'cuda_decode.py',
  peerSeconds: 50, // torch.compile takes from 45 seconds to minutes, after what is asked of the other ways
  rows: [
    { name: 'decode / CUDA graph', unit: 'tokens/s', ours: 'decode', theirs: 'CUDA graph', atLeast: 1.5 },
    { name: 'decode / torch.compile (reduce-overhead)', unit: 'tokens/s', ours: 'decode', theirs: 'torch.compile', atLeast: 1.5 },
    { name: 'decode / generate', unit: 'tokens/s', ours: 'decode', theirs: 'generate' },
    { name: 'decode / bandwidth limit', unit: 'tokens/s', ours: 'decode', theirs: 'limit' },
    { name: `decode after ${KEYS} tokens / CUDA graph`, unit: 'tokens/s', ours: 'long decode', theirs: 'long CUDA graph', atLeast: 1.5 },
    { name: `decode after ${KEYS} tokens / bandwidth limit`, unit: 'tokens/s', ours: 'long decode', theirs: 'long limit' },
    { name: `attention over ${KEYS} keys / scaled_dot_product_attention`, unit: 'us', ours: 'attention us', theirs: 'sdpa us', atMost: 1 },
    { name: `attention over ${KEYS} keys / copy of as many bytes`, unit: 'GB/s', ours: 'attention', theirs: 'copy', atLeast: 0.85 },
    { name: 'prompt of 128 tokens', unit: 'ms', ours: 'prefill' },
    { name: 'prompt of 2048 tokens', unit: 'ms', ours: 'long prefill' },
  ],
  async measure(): Promise<Figures> {
    const cuda = defaultDevice() as CudaDevice;
    const model = initialize((key: random.Key) => Llama.init(key, config, { dtype: 'bf16' }), 0);
    const promptOf = (length: number): number[] => Array.from({ length }, (_, i) => (i * 7919) % config.vocabulary);
    const options = { maxNewTokens: TOKENS, tokensPerCall: 16 };
    const once = async (prompt: number[]): Promise<{ prefill: number; perSecond: number }> => {
      const start = performance.now();
      let first = 0;
      let n = 0;
      for await (const _ of generate(model, prompt, options)) if (n++ === 0) first = performance.now();
      return { prefill: first - start, perSecond: ((n - 1) / (performance.now() - first)) * 1000 };
    };
    const say = (text: string): void => void process.stderr.write(`> ${text}\n`);
    const answers = async (length: number): Promise<{ prefill: number; perSecond: number }> => {
      const runs: { prefill: number; perSecond: number }[] = [];
      for (let i = 0; i < REPS + 2; i++) runs.push(await once(promptOf(length)));
      runs.splice(0, 2);
      say(`after ${length} tokens: ${runs.map((r) => r.perSecond.toFixed(0)).join(', ')} tokens/s`);
      return { prefill: median(runs.map((r) => r.prefill)), perSecond: median(runs.map((r) => r.perSecond)) };
    };
    say('the model is there');
    const began = performance.now();
    for (let i = 0; i < 2; i++) await once(promptOf(PROMPT));
    const ready = (performance.now() - began) / 1000;
    say('both programs are compiled');
    const short = await answers(PROMPT);
    const long = await answers(KEYS);
    const untilFirst: number[] = [];
    for (let i = 0; i < REPS + 2; i++) {
      const start = performance.now();
      for await (const _ of generate(model, promptOf(LONG_PROMPT), { maxNewTokens: 1 }));
      if (i >= 2) untilFirst.push(performance.now() - start);
    }
    const plan = planGeneration(model, PROMPT, options);
    const weights = treeBytes(model) - model.tokens.table.bytes;
    const kv = (plan.kvBytes / plan.capacity) * (PROMPT + TOKENS / 2);
    const longKv = (plan.kvBytes / plan.capacity) * (KEYS + TOKENS / 2);
    const bandwidth = copyBandwidth(cuda);
    const attention = attentionMicroseconds(cuda);
    return {
      decode: short.perSecond,
      prefill: short.prefill,
      'long decode': long.perSecond,
      'long prefill': median(untilFirst),
      limit: (bandwidth * 1e9) / (weights + kv),
      'long limit': (bandwidth * 1e9) / (weights + longKv),
      'attention us': attention.us,
      attention: attention.bytes / attention.us / 1e3,
      copy: attention.bytes / copyMicroseconds(cuda, attention.bytes) / 1e3,
      bytes: `${(weights / 1e9).toFixed(3)} GB of weights and ${(kv / 1e6).toFixed(0)} MB of keys and values a token at ${bandwidth.toFixed(0)} GB/s`,
      'ready after': `${ready.toFixed(1)} s, two whole answers and every compilation included`,
    };
  },
};
