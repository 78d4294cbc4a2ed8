import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import { add, ones, random, type Tensor } from '../tensor/index.ts';
import { initialize, xavierStd } from './init.ts';
import { Block, dropPath, forwardBlocks, Mlp, type Noise, SelfAttention } from './transformer.ts';

const rows = (t: Tensor): number[][] => t.toArray() as number[][];
const deviation = (t: Tensor): number => Math.sqrt(Array.from(t.data()).reduce((n, x) => n + x * x, 0) / t.size);
function apart(a: Tensor, b: Tensor): number {
  const other = b.data();
  return Math.max(...Array.from(a.data(), (x, i) => Math.abs(x - other[i]!)));
}

/** x W + b for one row. */
function affine(x: readonly number[], { weight, bias }: { weight: Tensor; bias?: Tensor | undefined }): number[] {
  const [w, b] = [rows(weight), bias?.data()];
  return w[0]!.map((_, o) => x.reduce((sum, v, i) => sum + v * w[i]![o]!, b?.[o] ?? 0));
}

test('self-attention mixes the values of each head by the softmax of its scores', () => {
  for (const [causal, headWidth] of [
    [false, 3],
    [true, 5],
  ] as const) {
    const layer = initialize((key) => SelfAttention.init(key, 6, 2, { causal, headWidth }), 3);
    const x = random.normal(random.key(4), [1, 4, 6]);
    const tokens = (x.toArray() as number[][][])[0]!;
    const qkv = tokens.map((row) => affine(row, layer.qkv));
    const part = (t: number, what: number, h: number): number[] =>
      qkv[t]!.slice((what * 2 + h) * headWidth, (what * 2 + h + 1) * headWidth);
    const expected = tokens.map((_, t) => {
      const mixed = [0, 1].flatMap((h) => {
        const scores = tokens.flatMap((_, s) =>
          causal && s > t ? [] : [Math.exp(part(t, 0, h).reduce((n, q, e) => n + q * part(s, 1, h)[e]!, 0) / Math.sqrt(headWidth))],
        );
        const total = scores.reduce((a, b) => a + b);
        return Array.from({ length: headWidth }, (_, e) => scores.reduce((n, p, s) => n + (p / total) * part(s, 2, h)[e]!, 0));
      });
      return affine(mixed, layer.out);
    });
    const found = (layer.forward(x).toArray() as number[][][])[0]!;
    for (const [t, row] of expected.entries())
      for (const [c, v] of row.entries()) assert.ok(Math.abs(v - found[t]![c]!) < 1e-5, `${t} ${c}`);
  }
});

test('projections begin as Xavier has it, with a bias unless told otherwise', () => {
  const cut = Math.sqrt(0.7737413); // truncated at two deviations
  const near = (t: Tensor, from: number, to: number): void =>
    assert.ok(Math.abs(deviation(t) / (cut * xavierStd(from, to)) - 1) < 0.06, `${t.shape}: ${deviation(t)}`);
  const { qkv, out } = SelfAttention.init(random.key(1), 48, 4, { headWidth: 20 });
  near(qkv.weight, 48, 240);
  near(out.weight, 80, 48);
  assert.deepEqual([qkv.bias?.shape, out.bias?.shape], [[240], [48]]);
  assert.equal(SelfAttention.init(random.key(1), 48, 4, { qkvBias: false }).qkv.bias, undefined);
  assert.throws(() => SelfAttention.init(random.key(1), 50, 4), /\[attention\] width 50 does not divide into 4 heads/);
  const mlp = Mlp.init(random.key(2), 30, 90);
  near(mlp.up.weight, 30, 90);
  near(mlp.down.weight, 90, 30);
  const block = Block.init(random.key(3), { width: 8, heads: 2 });
  assert.deepEqual([block.mlp.up.weight.shape, block.norm1.eps, block.norm2.eps, block.mlp.activation], [[8, 32], 1e-6, 1e-6, 'gelu']);
});

test('a block adds its branches to what comes in, and noise to the branches alone', () => {
  const block = initialize((key) => Block.init(key, { width: 8, heads: 2, causal: true }), 5);
  const x = random.normal(random.key(6), [64, 3, 8]);
  const h = add(x, block.attention.forward(block.norm1.forward(x)));
  const whole = add(h, block.mlp.forward(block.norm2.forward(h)));
  assert.ok(apart(block.forward(x), whole) < 1e-6);
  const noisy = block.forward(x, { key: random.key(7), dropPath: 0.5 });
  const [after, before] = [noisy.data(), x.data()];
  const kept = (b: number): boolean => Array.from({ length: 24 }, (_, i) => after[24 * b + i] === before[24 * b + i]).every(Boolean);
  const untouched = Array.from({ length: 64 }, (_, b) => kept(b)).filter(Boolean).length;
  assert.ok(untouched > 6 && untouched < 27, `${untouched} of 64 lost both branches`);
  assert.ok(apart(block.forward(x, { key: random.key(7), dropout: 0.5 }), whole) > 0.1);
});

test('a dropped branch is dropped for a sample as a whole, and the rest made up for', () => {
  const dropped = dropPath(random.key(8), ones([500, 2, 3]), 0.2);
  assert.deepEqual(dropped.shape, [500, 2, 3]);
  const samples = (dropped.toArray() as number[][][]).map((sample) => [...new Set(sample.flat())]);
  assert.ok(samples.every(([v, ...more]) => more.length === 0 && (v === 0 || Math.abs(v! - 1.25) < 1e-6)));
  const share = samples.filter(([v]) => v === 0).length / 500;
  assert.ok(Math.abs(share - 0.2) < 0.05, `${share}`);
  for (const p of [1, -0.1, Number.NaN])
    assert.throws(() => dropPath(random.key(8), dropped, p), /\[dropPath\] p is .*at least 0 and below 1/);
  assert.equal(dropPath(random.key(8), dropped, 0), dropped);
});

test('drop path grows linearly with depth, and each block has a key of its own', () => {
  const seen: (Noise | undefined)[] = [];
  const block = {
    forward(x: Tensor, noise?: Noise): Tensor {
      seen.push(noise);
      return add(x, 1);
    },
  };
  const x = ones([1, 1, 1]);
  const noise = { key: random.key(9), dropPath: 0.3, dropout: 0.1 };
  assert.equal(forwardBlocks([block, block, block, block], x, noise).item(), 5);
  const rates = seen.map((n) => n!.dropPath!);
  assert.ok(rates.every((p, i) => Math.abs(p - i * 0.1) < 1e-12) && seen.every((n) => n!.dropout === 0.1), `${rates}`);
  assert.equal(new Set(seen.map((n) => n!.key.data().join())).size, 4);
  seen.length = 0;
  forwardBlocks([block], x, noise);
  forwardBlocks([block], x);
  forwardBlocks([block, block], x, { key: noise.key });
  assert.deepEqual(
    seen.map((n) => n?.dropPath),
    [0, undefined, 0, 0],
  );
});
