/** Properties of random programs that hold on every device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as t from '../../tensor/index.ts';
import { NullDevice } from '../null/index.ts';
import { ReferenceDevice } from '../reference/index.ts';
import { numbers } from './golden.ts';
import { type Instruction, interpret, runInstructions } from './graphs.ts';
import { assertClose } from './suite.ts';

type Tensor = t.Tensor;

const instruction: fc.Arbitrary<Instruction> = fc.record({ f: fc.nat(999), x: fc.nat(7), n: fc.nat(99999) });
const shapes = fc.oneof(
  fc.array(fc.constantFrom(1, 2, 3, 4, 5, 8), { maxLength: 4 }),
  fc.constantFrom([16, 33], [4, 4, 4], [257], [6, 0], [2, 64], [600]),
);
interface Program {
  code: Instruction[];
  shapes: (readonly number[])[];
  /** Which of the last values are results, counted from the end; some twice. */
  results: number[];
  donate: number[];
}
const program: fc.Arbitrary<Program> = fc.record({
  code: fc.array(instruction, { minLength: 3, maxLength: 24, size: 'max' }),
  // often one shape for all: then donated memory fits results
  shapes: fc.oneof(
    fc.array(shapes, { minLength: 2, maxLength: 3 }),
    shapes.map((shape) => [shape, shape, shape]),
  ),
  results: fc.array(fc.nat(8), { minLength: 1, maxLength: 4 }),
  donate: fc.uniqueArray(fc.nat(3), { maxLength: 4 }),
});

/** Floats of each shape, and one tensor of integers. */
function inputsOn(p: Program, device: t.Device): Tensor[] {
  const floats = p.shapes.map((shape, k) =>
    t.tensor(
      Float32Array.from({ length: t.sizeOf(shape) }, (_, i) => (((i * 7 + k * 5) % 23) - 11) / 8),
      { shape, device },
    ),
  );
  const shape = p.shapes[0]!;
  return [
    ...floats,
    t.tensor(
      Int32Array.from({ length: t.sizeOf(shape) }, (_, i) => (i * 5) % 9),
      { shape, device },
    ),
  ];
}
const chosen = (p: Program, values: readonly Tensor[]): Tensor[] => p.results.map((r) => values.at(-1 - (r % values.length))!);

/** @param seed of the programs, half as many for gradients. @param tolerance of values; gradients have five times as much. */
export function testGraphs(device: t.Device, { runs, seed, tolerance = 2e-5 }: { runs: number; seed: number; tolerance?: number }): void {
  const [reference, nothing] = [new ReferenceDevice(), new NullDevice(device)];
  const expectedOf = (f: (...xs: Tensor[]) => Tensor[], p: Program): Tensor[] =>
    t.withDevice(reference, () => interpret(f, inputsOn(p, reference)));

  test(`${device.name}: ${runs} random programs give the reference's numbers, with donation and without, and leave other arguments alone`, () => {
    fc.assert(
      fc.property(program, (p) => {
        const f = (...xs: Tensor[]): Tensor[] => chosen(p, runInstructions(p.code, xs, { smooth: false }));
        const expected = expectedOf(f, p);
        const donate = p.donate.map((d) => d % (p.shapes.length + 1));
        const donating = t.compile(f, { donate, device });
        for (const [compiled, donates] of [
          [t.compile(f, { device }), false],
          [donating, true],
          [donating, true],
        ] as const) {
          const xs = inputsOn(p, device);
          const before = xs.map((x) => x.rawData());
          const given = xs.map((x) => x.storage);
          const results = compiled(...xs);
          results.forEach((r, i) => assertClose(r.data(), numbers(expected[i]!), tolerance, `result ${i} ${r.type.key}`));
          xs.forEach((x, i) => {
            if (!donates || !p.donate.some((d) => d % xs.length === i))
              assert.deepEqual(given[i]!.device.read(given[i]!.buffer, x.bytes), before[i], `argument ${i}`);
          });
        }
        const plan = donating.plan(...inputsOn(p, device));
        assert.deepEqual(t.compile(f, { donate, device: nothing }).plan(...inputsOn(p, nothing)), plan);
        assert.ok(plan.arenaBytes >= plan.arenaLowerBound);
      }),
      { seed, numRuns: runs, includeErrorInReport: true },
    );
  });

  test(`${device.name}: ${runs / 2} random gradients equal the reference's`, () => {
    fc.assert(
      fc.property(program, (p) => {
        const loss = (xs: Tensor[]): Tensor => {
          const floats = chosen(p, runInstructions(p.code, xs, { smooth: true })).map((y) => t.cast(y, 'f32'));
          return floats
            .map((y) => (y.size ? t.mean(t.mul(y, t.cos(t.reshape(t.iota(y.size, 'f32'), y.shape)))) : t.full([], 0)))
            .reduce((a, b) => t.add(a, b));
        };
        const f = (...xs: Tensor[]): Tensor[] => {
          const [value, gradients] = t.valueAndGrad(loss)(xs);
          return [value, ...gradients.filter((g) => g !== undefined)];
        };
        const expected = expectedOf(f, p);
        const results = t.compile(f, { device })(...inputsOn(p, device));
        results.forEach((r, i) =>
          assertClose(r.data(), numbers(expected[i]!), i ? 5 * tolerance : tolerance, i ? `gradient ${i - 1}` : 'loss'),
        );
      }),
      { seed, numRuns: runs / 2, includeErrorInReport: true },
    );
  });
}
