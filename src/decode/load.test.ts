import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type GoldenTensor, readGolden } from '../device/conformance/golden.ts';
import { assertClose } from '../device/conformance/suite.ts';
import { writeSafetensors } from '../io/index.ts';
import type { Llama } from '../nn/index.ts';
import { compile, encode, type Tensor, tensor } from '../tensor/index.ts';
import { loadLlama } from './load.ts';

interface Case {
  config: Record<string, unknown>;
  tensors: Record<string, GoldenTensor>;
  ids: GoldenTensor;
  rows: number[];
  logits: GoldenTensor;
}
const [golden] = readGolden<{ cases: [Case] }>('llama-tiny.json').cases;

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'thimble-llama-'));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
const sources = (names: readonly string[], dtype: 'f32' | 'bf16' = 'f32') =>
  Object.fromEntries(
    names.map((name) => [name, { dtype, shape: golden.tensors[name]!.shape, data: encode(golden.tensors[name]!.data, dtype) }]),
  );
const names = Object.keys(golden.tensors);

function assertGolden(model: Llama, tolerance: number): void {
  const logits = compile((m: Llama, ids: Tensor) => m.forward(ids))(
    model,
    tensor(golden.ids.data, { shape: golden.ids.shape, dtype: 'i32' }),
  );
  const [, T, V] = logits.shape as [number, number, number];
  const all = logits.data() as Float32Array;
  const picked = [0, 1].flatMap((b) => golden.rows.flatMap((r) => [...all.subarray((b * T + r) * V, (b * T + r + 1) * V)]));
  assertClose(picked, golden.logits.data, tolerance, 'logits');
}

test('a checkpoint in one file and one in shards give the logits of transformers', () =>
  inFolder(async (folder) => {
    await writeFile(join(folder, 'config.json'), JSON.stringify(golden.config));
    await writeSafetensors(join(folder, 'model.safetensors'), sources(names));
    assertGolden(await loadLlama(folder), 1e-5);

    const [a, b] = [names.slice(0, 7), names.slice(7)];
    await writeSafetensors(join(folder, 'model-1.safetensors'), sources(a));
    await writeSafetensors(join(folder, 'model-2.safetensors'), sources(b));
    const weight_map = Object.fromEntries(names.map((n) => [n, a.includes(n) ? 'model-1.safetensors' : 'model-2.safetensors']));
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
    await rm(join(folder, 'model.safetensors'));
    assertGolden(await loadLlama(folder), 1e-5);
  }));

test('bf16 weights stay bf16, norms become f32', () =>
  inFolder(async (folder) => {
    await writeFile(join(folder, 'config.json'), JSON.stringify(golden.config));
    await writeSafetensors(join(folder, 'model.safetensors'), sources(names, 'bf16'));
    const model = await loadLlama(folder);
    assert.deepEqual([model.blocks[0]!.qkv.dtype, model.norm.gain.dtype, model.dtype], ['bf16', 'f32', 'bf16']);
    assertGolden(model, 0.5);
  }));

test('a damaged folder is refused by file, tensor and shape', () =>
  inFolder(async (folder) => {
    await assert.rejects(loadLlama(folder), /\[llama\] .*config\.json: no such file/);
    await writeFile(join(folder, 'config.json'), '{');
    await assert.rejects(loadLlama(folder), /config.json is no JSON/);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...golden.config, intermediate_size: 44 }));
    await writeSafetensors(join(folder, 'model.safetensors'), sources(names));
    await assert.rejects(loadLlama(folder), /gate_proj.weight F32\[40,24\] \+ .*up_proj.weight F32\[40,24\] should be \[88,24\]/);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...golden.config, num_hidden_layers: 3 }));
    await assert.rejects(loadLlama(folder), /no tensor 'model.layers.2.input_layernorm.weight'/);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...golden.config, num_hidden_layers: 1e9 }));
    await assert.rejects(loadLlama(folder), /no tensor 'model.layers.2.input_layernorm.weight'/, 'before memory is full of layers');
    const index = (file: string) => writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { a: file } }));
    await index('../elsewhere');
    await assert.rejects(loadLlama(folder), /weight_map must name the files of the folder/);
    await index('model-2.safetensors');
    await assert.rejects(loadLlama(folder), /model-2.safetensors: no such file/);
    await index('..');
    await assert.rejects(loadLlama(folder), /is a folder, not a safetensors file/);
  }));
