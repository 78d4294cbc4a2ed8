/** What small cases do not reach: rows that a group of threads takes in a later turn, many indices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cast,
  compile,
  type DType,
  device,
  encode,
  fromBytes,
  grad,
  layerNorm,
  mul,
  rmsNorm,
  scatterAdd,
  sum,
  type Tensor,
  typeOf,
} from '../../tensor/index.ts';
import '../index.ts';
import { gpuPresent } from './requirements.ts';

const skip = gpuPresent() ? false : 'there is no NVIDIA GPU';
const pseudo = (n: number, below: number): number[] => Array.from({ length: n }, (_, i) => (Math.imul(i, 2654435761) >>> 8) % below);
const on = (numbers: readonly number[], shape: readonly number[], dtype: DType): Tensor =>
  fromBytes(encode(numbers, dtype), typeOf(shape, dtype), device('cuda'));

test('norms of more rows than are under way at once, and their gradients', { skip }, () => {
  for (const [rows, width, dtype] of [
    [6000, 200, 'bf16'],
    [6000, 100, 'f32'],
    [4500, 770, 'bf16'],
    [4500, 333, 'f32'],
    [4500, 333, 'bf16'],
    [3000, 1024, 'bf16'],
    [1500, 2056, 'bf16'],
    [600, 8000, 'f32'],
  ] as const) {
    const whole = (below: number, salt: number): number[] => pseudo(rows * width, below).map((v) => ((v * salt) % below) - below / 2); // bf16 holds them
    const [x, dy] = [whole(250, 1), whole(14, 3)];
    const gain = pseudo(width, 17).map((v) => v - 8);
    const bias = pseudo(width, 5);
    const f = compile((x: Tensor, g: Tensor, b: Tensor, dy: Tensor) => {
      const gradients = grad((xs: Tensor[]) => sum(mul(cast(layerNorm(xs[0]!, xs[1]!, xs[2]!), 'f32'), cast(dy, 'f32'))))([x, g, b]);
      return [layerNorm(x, g, b), rmsNorm(x, g), ...gradients].map((y) => cast(y, 'f32'));
    });
    const got = f(on(x, [rows, width], dtype), on(gain, [width], 'f32'), on(bias, [width], 'f32'), on(dy, [rows, width], dtype));
    const want = [0, 1, 2].map(() => new Float64Array(rows * width));
    const [dGain, dBias] = [new Float64Array(width), new Float64Array(width)];
    for (let r = 0; r < rows; r++) {
      const [row, d] = [x, dy].map((all) => all.slice(r * width, (r + 1) * width)) as [number[], number[]];
      const mean = (of: (v: number, i: number) => number): number => row.reduce((s, v, i) => s + of(v, i), 0) / width;
      const middle = mean((v) => v);
      const k = 1 / Math.sqrt(mean((v) => (v - middle) ** 2) + 1e-5);
      const rms = 1 / Math.sqrt(mean((v) => v * v) + 1e-6);
      const hat = (v: number): number => (v - middle) * k;
      const [p, q] = [mean((_, i) => d[i]! * gain[i]!), mean((v, i) => d[i]! * gain[i]! * hat(v))];
      row.forEach((v, i) => {
        want[0]![r * width + i] = hat(v) * gain[i]! + bias[i]!;
        want[1]![r * width + i] = v * rms * gain[i]!;
        want[2]![r * width + i] = k * (d[i]! * gain[i]! - p - hat(v) * q);
        dGain[i]! += d[i]! * hat(v);
        dBias[i]! += d[i]!;
      });
    }
    [...want, dGain, dBias].forEach((w, which) => {
      const y = got[which]!.data();
      const [worst, most] = w.reduce(([a, b], v, i) => [Math.max(a!, Math.abs(y[i]! - v)), Math.max(b!, Math.abs(v))], [0, 0]) as [
        number,
        number,
      ];
      const rounded = dtype === 'bf16' && which < 3;
      assert.ok(worst <= (rounded ? 4e-3 : 2e-6) * most, `${rows} rows of ${width} ${dtype}, result ${which}: ${worst} of ${most}`);
    });
  }
});

test('sums by index of many', { skip }, () => {
  for (const [picks, axis] of [
    [1, 9],
    [777, 1],
    [16384, 50257],
    [16385, 1 << 18],
  ] as const) {
    const ids = pseudo(picks, 2 * axis).map((v) => Math.floor((v / (2 * axis)) ** 3 * axis));
    const values = pseudo(picks * 8, 16);
    const f = compile((dy: Tensor, i: Tensor) => scatterAdd(dy, i, axis));
    const y = f(on(values, [picks, 8], 'f32'), on(ids, [picks], 'i32')).data();
    const want = new Float32Array(axis * 8);
    ids.forEach((id, p) => {
      for (let k = 0; k < 8; k++) want[id * 8 + k]! += values[p * 8 + k]!;
    });
    assert.deepEqual(y, want, `${picks} of ${axis}`);
  }
});
