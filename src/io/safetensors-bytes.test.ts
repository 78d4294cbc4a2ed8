import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeSafetensors, encodeSafetensors, safetensorsBytes, type TensorRecord, writeSafetensors } from './index.ts';

const tensors = new Map<string, TensorRecord>([
  ['half', { dtype: 'f16', shape: [3], data: Uint8Array.of(0, 60, 0, 64, 0, 66) }],
  ['whole', { dtype: 'f32', shape: [1, 2], data: new Uint8Array(Float32Array.of(1, -2).buffer) }],
]);

test('bytes in memory are the bytes of the file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-io-'));
  try {
    await writeSafetensors(join(folder, 'file'), tensors);
    const bytes = encodeSafetensors(tensors);
    assert.deepEqual(Buffer.from(bytes), readFileSync(join(folder, 'file')));
    assert.equal(safetensorsBytes(tensors), bytes.byteLength);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what was encoded is decoded; every truncation is refused', () => {
  const bytes = encodeSafetensors(tensors);
  assert.deepEqual(new Map([...decodeSafetensors(bytes, 'it')].sort()), tensors);
  for (let length = 0; length < bytes.byteLength; length++)
    assert.throws(() => decodeSafetensors(bytes.subarray(0, length), 'it'), /\[safetensors\] it/);
});
