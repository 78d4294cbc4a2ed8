/** Published checkpoints in half precision, end to end: files, logits and tokens of transformers, one generation beside another. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readGolden } from '../device/conformance/golden.ts';
import { writeSafetensors } from '../io/index.ts';
import type { Llama } from '../nn/index.ts';
import { compile, type Device, defaultDevice, device, encode, take, tensor } from '../tensor/index.ts';
import { type GenerateOptions, generate } from './generate.ts';
import { loadLlama } from './load.ts';

interface Case {
  dtype: 'bf16' | 'f16';
  config: Record<string, unknown>;
  /** Shapes by name, in the order of the names. */
  tensors: Record<string, number[]>;
  prompt: number[];
  /** Positions whose logits are written down. */
  rows: number[];
  logits: number[];
  /** The largest difference of transformers' own logits in this type. */
  error: number;
  tokens: number[];
  /** By how much the logit of each token was ahead of the next one's. */
  gaps: number[];
}
const { cases } = readGolden<{ cases: Case[] }>('llama-halves.json');

/** `number` of tests/golden/make_checkpoint.py. */
function number(tensor: number, i: number): number {
  let x = (i + Math.imul(tensor, 0x9e3779b9)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) >>> 0;
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
  return ((x ^ (x >>> 16)) & 255) - 128;
}

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'thimble-checkpoint-'));
});
after(() => rm(folder, { recursive: true }));

/** The case as two shards with an index. */
async function write({ dtype, config, tensors }: Case): Promise<void> {
  const names = Object.keys(tensors);
  const source = (name: string, t: number) => {
    const shape = tensors[name]!;
    const value = (n: number): number => (shape.length === 1 ? 1 + Math.trunc(n / 8) / 64 : n / 256);
    const numbers = Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => value(number(t, i)));
    return [name, { dtype, shape, data: encode(numbers, dtype) }] as const;
  };
  const shard = (name: string): string => `model-0000${1 + (names.indexOf(name) % 2)}-of-00002.safetensors`;
  for (const file of new Set(names.map(shard)))
    await writeSafetensors(
      join(folder, file),
      Object.fromEntries(names.flatMap((name, t) => (shard(name) === file ? [source(name, t)] : []))),
    );
  const weight_map = Object.fromEntries(names.map((name) => [name, shard(name)]));
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
}

async function all(model: Llama, prompt: readonly number[], options: GenerateOptions): Promise<number[]> {
  const ids: number[] = [];
  for await (const id of generate(model, prompt, options)) ids.push(id);
  return ids;
}

for (const c of cases) {
  const { error } = c;
  test(`${c.dtype} in shards: logits and tokens of transformers`, async () => {
    await write(c);
    const logitsOn = async (on: Device): Promise<Float32Array> => {
      const ids = tensor([c.prompt], { dtype: 'i32', device: on });
      const forward = compile((m: Llama, x: typeof ids) => take(m.forward(x), tensor(Int32Array.from(c.rows)), 1));
      return forward(await loadLlama(folder, { device: on }), ids).data() as Float32Array;
    };
    const [here, cpu] = [await logitsOn(defaultDevice()), await logitsOn(device('cpu'))];
    const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)));
    assert.ok(apart(here, c.logits) < error, `${apart(here, c.logits)} from transformers`);
    assert.ok(apart(here, cpu) < error, `${apart(here, cpu)} from the CPU`);

    const model = await loadLlama(folder);
    for (const prefillChunk of [128, 16]) {
      const tokens = await all(model, c.prompt, { maxNewTokens: c.tokens.length, prefillChunk });
      const same = tokens.findIndex((t, i) => t !== c.tokens[i]);
      assert.ok(same < 0 || c.gaps[same]! < error / 2, `chunks of ${prefillChunk}: token ${same} differs, ${c.gaps[same]} ahead`);
    }
  });

  test(`${c.dtype}: generations at once give what each gives alone`, async () => {
    await write(c);
    const model = await loadLlama(folder);
    const runs: [number[], GenerateOptions][] = [
      [c.prompt, { maxNewTokens: 40, tokensPerCall: 4 }],
      [c.prompt.slice(0, 9), { maxNewTokens: 40, tokensPerCall: 4 }],
      [[...c.prompt].reverse(), { maxNewTokens: 40, tokensPerCall: 4 }],
      [c.prompt.slice(20), { maxNewTokens: 40, tokensPerCall: 4, temperature: 1, seed: 3 }],
    ];
    const together = await Promise.all(runs.map(([prompt, options]) => all(model, prompt, options)));
    for (const [i, [prompt, options]] of runs.entries()) assert.deepEqual(together[i], await all(model, prompt, options), `run ${i}`);
  });
}
