import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import '../../../device/index.ts';
import { mul, type Tensor, tensor } from '../../../tensor/index.ts';
import { cropMatrix, lowFrequencyCrop } from './frequency.ts';
import { maskedTargets } from './masked.ts';
import { lanczosResize, nearestResize } from './resample.ts';

interface Golden {
  name: string;
  inputs: { x: { shape: number[]; data: number[] } };
  attrs: { size?: number };
  outputs: Record<string, { shape: number[]; data: number[] }>;
}
const golden = (file: string): Golden[] =>
  (JSON.parse(readFileSync(new URL(`../../../../tests/golden/${file}.json`, import.meta.url), 'utf8')) as { cases: Golden[] }).cases;

/** Square images [1, 1, size, size] of a function of row and column. */
const image = (size: number, f: (y: number, x: number) => number): Tensor =>
  tensor(
    Float32Array.from({ length: size * size }, (_, i) => f(Math.floor(i / size), i % size)),
    { shape: [1, 1, size, size] },
  );
const noise = (size: number, seed: number): Tensor =>
  image(size, (y, x) => Math.sin(seed + 12.9898 * x + 78.233 * y) * Math.cos(3.7 * x * y + seed));
const numbers = (x: Tensor): number[] => Array.from(x.data() as Float32Array);

function near(a: readonly number[], b: readonly number[], tolerance: number, what: string): void {
  assert.equal(a.length, b.length, what);
  const worst = a.reduce((max, x, i) => Math.max(max, Math.abs(x - b[i]!)), 0);
  assert.ok(worst <= tolerance, `${what}: off by ${worst}`);
}

test('the crop agrees with a Fourier transform, also of odd sides', () => {
  const cases = golden('methods').filter(({ name }) => name.startsWith('low-frequency crop'));
  assert.equal(cases.length, 6);
  for (const { name, inputs, outputs } of cases) {
    const [y] = Object.values(outputs) as [{ shape: number[]; data: number[] }];
    const made = lowFrequencyCrop(tensor(Float32Array.from(inputs.x.data), { shape: inputs.x.shape }), y.shape[3]!);
    assert.deepEqual(made.shape, y.shape);
    near(numbers(made), y.data, 2e-6, name);
  }
});

const sides = fc.integer({ min: 2, max: 24 }).chain((S) =>
  fc.tuple(
    fc.constant(S),
    fc.integer({ min: 1, max: Math.floor(S / 2) }).map((h) => 2 * h),
  ),
);

test('(1) the full side is the identity', () => {
  const x = noise(14, 1);
  assert.equal(lowFrequencyCrop(x, 14), x);
  const matrix = cropMatrix(14, 14);
  const identity = Array.from({ length: 15 * 14 }, (_, i) => Number(Math.floor(i / 14) === i % 14));
  near(Array.from(matrix), identity, 1e-12, 'the matrix of the full side, and no imaginary part');
});

test('(2) grey stays grey, and the mean stays', () => {
  fc.assert(
    fc.property(sides, fc.double({ min: -3, max: 3, noNaN: true }), ([S, B], level) => {
      near(
        numbers(
          lowFrequencyCrop(
            image(S, () => level),
            B,
          ),
        ),
        Array<number>(B * B).fill(level),
        1e-5,
        `constant ${S} to ${B}`,
      );
      const mean = (x: Tensor): number => numbers(x).reduce((a, b) => a + b) / x.size;
      // a frequency pair at -h adds the sign pattern of the checkers, whose mean is 0
      near([mean(lowFrequencyCrop(noise(S, level), B))], [mean(noise(S, level))], 1e-5, `mean ${S} to ${B}`);
    }),
    { numRuns: 40 },
  );
});

test('(3) a slow wave is the same wave at fewer points, a fast one is gone', () => {
  for (const [S, B] of [
    [24, 16],
    [28, 16],
    [15, 8],
    [32, 24],
  ] as const)
    for (let k = 0; k <= S / 2; k++) {
      const wave = (side: number) =>
        image(side, (y, x) => Math.cos((2 * Math.PI * k * x) / side + 0.4) + Math.sin((2 * Math.PI * k * y) / side));
      const made = numbers(lowFrequencyCrop(wave(S), B));
      if (k < B / 2) near(made, numbers(wave(B)), 1e-5, `${k} periods, ${S} to ${B}`);
      else if (k > B / 2) near(made, Array<number>(B * B).fill(0), 1e-5, `${k} periods, ${S} to ${B}`);
    }
});

test('(4) a crop of a crop is the smaller crop, but for the highest row of frequencies', () => {
  const [S, B1, B2] = [24, 16, 8];
  // waves below B2 / 2 and between: nothing at the Nyquist rows
  const x = image(S, (y, x) =>
    [1, 2, 3, 5, 6, 7].reduce((sum, k) => sum + Math.cos((2 * Math.PI * k * x) / S + k) * Math.sin((2 * Math.PI * (k - 1) * y) / S + 1), 0),
  );
  near(numbers(lowFrequencyCrop(lowFrequencyCrop(x, B1), B2)), numbers(lowFrequencyCrop(x, B2)), 1e-5, 'crop of crop');
});

test('the crop is linear, and keeps batches and channels apart', () => {
  const [a, b] = [noise(12, 1), noise(12, 2)];
  const both = tensor(Float32Array.from([...numbers(a), ...numbers(b)]), { shape: [1, 2, 12, 12] });
  near(numbers(lowFrequencyCrop(both, 8)), [...numbers(lowFrequencyCrop(a, 8)), ...numbers(lowFrequencyCrop(b, 8))], 1e-6, 'channels');
  near(numbers(lowFrequencyCrop(mul(a, 3), 8)), numbers(mul(lowFrequencyCrop(a, 8), 3)), 1e-5, 'scale');
});

test('sides that do not work are refused', () => {
  assert.throws(() => lowFrequencyCrop(noise(12, 1), 7), /side 7 is odd.*use 6 or 8/);
  assert.throws(() => lowFrequencyCrop(noise(12, 1), 14), /side 14 is outside 1\.\.12/);
  assert.throws(() => lanczosResize(tensor(new Float32Array(24), { shape: [1, 1, 4, 6] }), 2), /needs square images/);
});

test('Lanczos agrees with Pillow', () => {
  const cases = golden('augment').filter(({ name }) => name.startsWith('lanczos'));
  assert.equal(cases.length, 4);
  for (const { name, inputs, attrs, outputs } of cases) {
    const S = inputs.x.shape[0]!;
    const made = lanczosResize(tensor(Float32Array.from(inputs.x.data), { shape: [1, 1, S, S] }), attrs.size!);
    near(numbers(made), outputs['y']!.data, 3e-6, name);
  }
});

test('nearest neighbours are pixels of the image, and alias', () => {
  const x = image(8, (y, x) => 10 * y + x);
  assert.deepEqual(numbers(nearestResize(x, 4)), [11, 13, 15, 17, 31, 33, 35, 37, 51, 53, 55, 57, 71, 73, 75, 77]);
  const stripes = image(16, (_, x) => (x % 2 ? 1 : -1));
  assert.ok(
    numbers(nearestResize(stripes, 8)).every((v) => v === 1),
    'the fastest stripes become grey that is not there',
  );
  assert.ok(numbers(lowFrequencyCrop(stripes, 8)).every((v) => Math.abs(v) < 1e-6));
});

test('masked targets are the pixels of each patch, normalised', () => {
  const targets = maskedTargets(noise(8, 3), 4);
  assert.deepEqual(targets.shape, [1, 4, 16]);
  const rows = targets.toArray() as number[][][];
  for (const row of rows[0]!) {
    assert.ok(Math.abs(row.reduce((a, b) => a + b) / 16) < 1e-6);
    assert.ok(Math.abs(row.reduce((a, b) => a + b * b, 0) / 15 - 1) < 1e-3);
  }
  // the first patch is the upper left corner in reading order
  const corner = Array.from({ length: 16 }, (_, i) => numbers(noise(8, 3))[Math.floor(i / 4) * 8 + (i % 4)]!);
  const order = (xs: readonly number[]): number[] => xs.map((_, i) => i).sort((a, b) => xs[a]! - xs[b]!);
  assert.deepEqual(order(rows[0]![0]!), order(corner));
  assert.throws(() => maskedTargets(noise(10, 3), 4), /\[1, 1, 10, 10\] have no patches of 4 x 4/);
  assert.throws(() => maskedTargets(noise(8, 3), 1), /of two values or more/);
});
