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
  max,
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
  const skewed = (n: number, axis: number): number[] => pseudo(n, 2 * axis).map((v) => Math.floor((v / (2 * axis)) ** 3 * axis));
  for (const [picks, axis, width, ids, dtype = 'f32'] of [
    [1, 9, 8, skewed(1, 9)],
    [777, 1, 8, skewed(777, 1)],
    [16384, 50257, 64, skewed(16384, 50257)],
    [16384, 50257, 64, skewed(16384, 50257), 'bf16'],
    [16384, 50257, 8, pseudo(16384, 50257).map((v) => (v % 2 ? 7 : v))],
    [16384, 50257, 8, new Array<number>(16384).fill(50256)],
    [16384, 1024, 12, pseudo(16384, 1024)],
    [16385, 1 << 18, 8, skewed(16385, 1 << 18)],
    [900, 300, 12288, skewed(900, 300)], // chunks of few rows
    [1500, 4003, 1096, skewed(1500, 4003), 'f16'], // rows of zeros in pieces, the last of them short
    [1500, 400, 6, skewed(1500, 400)], // rows that are not copied by 16 bytes
    [1500, 400, 5, skewed(1500, 400)],
    [1500, 400, 12, skewed(1500, 400), 'bf16'],
  ] as const) {
    const name = `${picks} of ${axis}, rows of ${width} ${dtype}`;
    const values = pseudo(picks * width, 16);
    const f = compile((dy: Tensor, i: Tensor) => scatterAdd(dy, i, axis));
    const index = on(ids, [picks], 'i32');
    const y = f(on(values, [picks, width], dtype), index).data();
    const want = new Array<number>(axis * width).fill(0);
    ids.forEach((id, p) => {
      for (let k = 0; k < width; k++) want[id * width + k]! += values[p * width + k]!;
    });
    assert.deepEqual(y, on(want, [axis, width], dtype).data(), name);
    const rounded = on(
      values.map((v) => v / 7),
      [picks, width],
      dtype,
    );
    assert.deepEqual(f(rounded, index).data(), f(rounded, index).data(), `${name}: the same bits twice`);
  }
});

test('sums of columns by blocks that run together', { skip }, () => {
  for (const [outer, count, inner, dtype] of [
    [1, 1400, 768, 'bf16'],
    [1, 2000, 3072, 'bf16'],
    [1, 4099, 515, 'f32'],
    [3, 1500, 300, 'f32'],
    [1, 1400, 770, 'i64'],
  ] as const) {
    const values = pseudo(outer * count * inner, 16);
    const x = on(values, [outer, count, inner], dtype);
    const wide = dtype === 'i64' ? 'i64' : 'f32';
    const f = compile((x: Tensor) => [sum(cast(x, wide), 1), max(cast(x, wide), 1)]);
    const [sums, most] = f(x).map((y) => Array.from(y.data(), Number));
    const want = [new Array<number>(outer * inner).fill(0), new Array<number>(outer * inner).fill(0)] as const;
    values.forEach((v, i) => {
      const at = Math.floor(i / (count * inner)) * inner + (i % inner);
      want[0][at]! += v;
      want[1][at] = Math.max(want[1][at]!, v);
    });
    assert.deepEqual([sums, most], want, `${outer} x ${count} x ${inner} ${dtype}`);
  }
});
