import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { readGolden } from '../device/conformance/golden.ts';
import { disposeTree } from '../tensor/index.ts';
import { Gpt2Run } from './gpt2-step.ts';

interface Curves {
  curves: { f32: number[]; bf16: number[] };
}

const golden = readGolden<Curves>('gpt2-tiny.json').curves;
const STEPS = 100;

function curve(compute: 'f32' | 'bf16'): number[] {
  const run = new Gpt2Run('tiny', compute);
  return Array.from({ length: STEPS }, (_, i) => {
    const batch = run.batch(i);
    const loss = run.run(batch);
    disposeTree(batch);
    return loss;
  });
}
const farthest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

test("a tiny GPT-2 in f32 has PyTorch's losses for 100 steps", () => {
  const d = farthest(curve('f32'), golden.f32);
  assert.ok(d < 1e-4, `farthest apart: ${d}`);
});

test("in bf16 it is as near to PyTorch's f32 losses as a few times PyTorch's own bf16", () => {
  const theirs = farthest(golden.bf16, golden.f32);
  const ours = farthest(curve('bf16'), golden.f32);
  assert.ok(ours < 5 * theirs, `ours ${ours}, theirs ${theirs}`);
  assert.ok(ours > 0, 'bf16 leaves a trace');
});
