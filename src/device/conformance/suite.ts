/** Tests that every device passes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile, type Device, isFloat, type Tensor } from '../../tensor/index.ts';
import { ops } from '../../tensor/ops.ts';
import { ReferenceDevice } from '../reference/index.ts';
import { cases } from './cases/index.ts';
import type { Case } from './inputs.ts';
import { inputsOn, runCase, weighted } from './run.ts';

/** |a - b| <= tolerance * max(1, |b|), elementwise, with NaN equal to NaN. */
export function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: ${actual.length} numbers, expected ${expected.length}`);
  for (let i = 0; i < actual.length; i++) {
    const [a, b] = [actual[i]!, expected[i]!];
    if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    assert.ok(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)), `${what}: element ${i} is ${a}, expected ${b}`);
  }
}

/** Every case (or those chosen) on `device` against the reference device, forward and gradient, and against itself: the same bits every time. */
export function testDevice(device: Device, tolerance = 2e-5, chosen: readonly Case[] = cases): void {
  const reference = new ReferenceDevice();
  for (const c of chosen)
    test(`${device.name}: ${c.name}`, () => {
      const own = runCase(c, inputsOn(c, device));
      const again = runCase(c, inputsOn(c, device));
      [own.value, ...own.gradients].forEach((x, i) => {
        if (x) assert.deepEqual([again.value, ...again.gradients][i]!.data(), x.data(), 'the bits of a second run');
      });
      const expected = runCase(c, inputsOn(c, reference));
      assert.deepEqual(own.value.shape, expected.value.shape);
      assert.equal(own.value.dtype, expected.value.dtype);
      assertClose(own.value.data(), reference.values(expected.value), isFloat(own.value.dtype) ? (c.tolerance ?? tolerance) : 0, 'value');
      expected.gradients.forEach((g, i) => {
        if (g) assertClose(own.gradients[i]!.data(), reference.values(g), c.tolerance ?? 10 * tolerance, `gradient of input ${i}`);
      });
    });
}

/** The reference device's gradients against central differences of its values, and that every op has a case. */
export function testReference(): void {
  const device = new ReferenceDevice();
  test('every op has a case', () => {
    const covered = new Set(cases.flatMap((c) => c.ops));
    assert.deepEqual(
      Object.keys(ops).filter((op) => op !== 'input' && !covered.has(op as never)),
      [],
    );
  });
  for (const c of cases) {
    if (c.forwardOnly || c.tolerance) continue; // what rounds has no differences to compare with
    if (c.inputs.some((i) => i.values.length > 2000)) continue; // small cases of the same ops stand for it
    test(`finite differences: ${c.name}`, () => {
      const { gradients } = runCase(c, inputsOn(c, device));
      const loss = compile((...xs: Tensor[]) => weighted(c.f(...xs)));
      gradients.forEach((g, k) => {
        if (!g) return;
        const own = device.values(g);
        const step = Math.max(1, Math.floor(own.length / 25));
        for (let i = 0; i < own.length; i += step) {
          const at = (h: number): number => {
            const xs = inputsOn(c, device);
            device.values(xs[k]!)[i]! += h;
            return device.values(loss(...xs))[0]!;
          };
          const h = 1e-5;
          const slope = (at(h) - at(-h)) / (2 * h);
          assert.ok(
            Math.abs(own[i]! - slope) <= 1e-6 * Math.max(1, Math.abs(slope)),
            `gradient of input ${k}, element ${i}: ${own[i]}, by differences ${slope}`,
          );
        }
      });
    });
  }
}
