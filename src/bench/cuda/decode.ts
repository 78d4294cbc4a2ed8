/**
 * A Llama of 1.36e9 random bf16 weights (width 2048, 24 layers, 32 heads, MLP 5632, 32000 tokens) answers a prompt of 128 tokens with 256 at batch 1, and begins to answer one of 2048.
 * The limit is what a copy's bandwidth allows: every weight but the token table is read once a token, and every key and value so far.
 */
import { generate, planGeneration } from '../../decode/index.ts';
import type { CudaDevice } from '../../device/index.ts';
import { initialize, Llama, type LlamaConfig } from '../../nn/index.ts';
import { defaultDevice, type random, treeBytes } from '../../tensor/index.ts';
import { median } from '../../train/index.ts';
import type { Figures, Section } from '../section.ts';
import { copyBandwidth } from './memory.ts';

const config: LlamaConfig = {
  vocabulary: 32000,
  context: 4096,
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
const [PROMPT, LONG_PROMPT, TOKENS, REPS] = [128, 2048, 256, 5];

export const section: Section = {
  title: 'decode of a 1.36B Llama, batch 1, bf16 / transformers with a static cache',
  peer: 'cuda_decode.py',
  peerSeconds: 75, // torch.compile takes from 45 seconds to minutes, after what is asked of the other ways
  rows: [
    { name: 'decode / CUDA graph', unit: 'tokens/s', ours: 'decode', theirs: 'CUDA graph', atLeast: 1.5 },
    { name: 'decode / torch.compile (reduce-overhead)', unit: 'tokens/s', ours: 'decode', theirs: 'torch.compile', atLeast: 1.5 },
    { name: 'decode / generate', unit: 'tokens/s', ours: 'decode', theirs: 'generate' },
    { name: 'decode / bandwidth limit', unit: 'tokens/s', ours: 'decode', theirs: 'limit' },
    { name: 'prompt of 128 tokens', unit: 'ms', ours: 'prefill' },
    { name: 'prompt of 2048 tokens', unit: 'ms', ours: 'long prefill' },
  ],
  async measure(): Promise<Figures> {
    const cuda = defaultDevice() as CudaDevice;
    const model = initialize((key: random.Key) => Llama.init(key, config, { dtype: 'bf16' }), 0);
    const promptOf = (length: number): number[] => Array.from({ length }, (_, i) => (i * 7919) % config.vocabulary);
    const prompt = promptOf(PROMPT);
    const options = { maxNewTokens: TOKENS, tokensPerCall: 16 };
    const once = async (): Promise<{ prefill: number; perSecond: number }> => {
      const start = performance.now();
      let first = 0;
      let n = 0;
      for await (const _ of generate(model, prompt, options)) if (n++ === 0) first = performance.now();
      return { prefill: first - start, perSecond: ((n - 1) / (performance.now() - first)) * 1000 };
    };
    const say = (text: string): void => void process.stderr.write(`> ${text}\n`);
    say('the model is there');
    const began = performance.now();
    for (let i = 0; i < 2; i++) await once();
    const ready = (performance.now() - began) / 1000;
    say('both programs are compiled');
    const runs: { prefill: number; perSecond: number }[] = [];
    for (let i = 0; i < REPS; i++) runs.push(await once());
    say(runs.map((r) => `${r.perSecond.toFixed(0)} tokens/s`).join(', '));
    const untilFirst: number[] = [];
    for (let i = 0; i < REPS + 2; i++) {
      const start = performance.now();
      for await (const _ of generate(model, promptOf(LONG_PROMPT), { maxNewTokens: 1 }));
      if (i >= 2) untilFirst.push(performance.now() - start);
    }
    const plan = planGeneration(model, PROMPT, options);
    const weights = treeBytes(model) - model.tokens.table.bytes;
    const kv = (plan.kvBytes / plan.capacity) * (PROMPT + TOKENS / 2);
    const bandwidth = copyBandwidth(cuda);
    return {
      decode: median(runs.map((r) => r.perSecond)),
      prefill: median(runs.map((r) => r.prefill)),
      'long prefill': median(untilFirst),
      limit: (bandwidth * 1e9) / (weights + kv),
      bytes: `${(weights / 1e9).toFixed(3)} GB of weights and ${(kv / 1e6).toFixed(0)} MB of keys and values a token at ${bandwidth.toFixed(0)} GB/s`,
      'ready after': `${ready.toFixed(1)} s, two whole answers and every compilation included`,
    };
  },
};
