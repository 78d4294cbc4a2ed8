import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { readGolden } from '../device/conformance/golden.ts';
import { defaultDevice, disposeTree } from '../tensor/index.ts';
import { Gpt2Run, type RecipeName } from './gpt2-step.ts';

interface Curves {
  curves: { f32: number[]; bf16: number[] };
}

const golden = readGolden<Curves>('gpt2-tiny.json').curves;
const STEPS = 100;

function curve(compute: 'f32' | 'bf16', name: RecipeName = 'tiny'): number[] {
  const run = new Gpt2Run(name, compute);
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

// Of GPT-2-small, whose losses fall from 10.9 to 1.7, PyTorch's own bf16 curve lies 0.18 nats from its TF32 one on average: that is what rounding to
// bf16 does here. Ours must be much nearer to its bf16 curve than that.
const skip = defaultDevice().name !== 'cuda' && 'the default device is no GPU';
test("GPT-2-small in bf16 has the losses of PyTorch's bf16 for 100 steps", { skip }, () => {
  const { curves } = readGolden<{ curves: { bf16: number[]; tf32: number[] } }>('gpt2-small.json');
  const apart = (a: readonly number[], b: readonly number[]): number => a.reduce((n, x, i) => n + Math.abs(x - b[i]!), 0) / a.length;
  const rounding = apart(curves.bf16, curves.tf32);
  const ours = apart(curve('bf16', 'small'), curves.bf16);
  assert.ok(ours < 0.25 * rounding, `${ours} nats from PyTorch's bf16 on average, which is ${rounding} from its TF32`);
});
