import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import '../index.ts';
import * as t from '../../tensor/index.ts';
import { numbers } from './golden.ts';
import { type Instruction, interpret, runInstructions } from './graphs.ts';
import { assertClose } from './suite.ts';

type Tensor = t.Tensor;
const [cpu, reference, nothing] = ['cpu', 'reference', 'null'].map(t.device) as [t.Device, t.Device, t.Device];
// to hunt: GRAPHS=5000 SEED=$RANDOM node --test dist/device/conformance/graphs.test.js
const RUNS = Number(process.env['GRAPHS'] ?? 250);
const seed = Number(process.env['SEED'] ?? 1);

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

test(`${RUNS} random programs give the reference's numbers, with donation and without, and leave other arguments alone`, () => {
  fc.assert(
    fc.property(program, (p) => {
      const f = (...xs: Tensor[]): Tensor[] => chosen(p, runInstructions(p.code, xs, { smooth: false }));
      const expected = t.withDevice(reference, () => interpret(f, inputsOn(p, reference)));
      const donating = t.compile(f, { donate: p.donate.map((d) => d % (p.shapes.length + 1)) });
      for (const [compiled, donates] of [
        [t.compile(f), false],
        [donating, true],
        [donating, true],
      ] as const) {
        const xs = inputsOn(p, cpu);
        const before = xs.map((x) => x.rawData());
        const given = xs.map((x) => x.storage);
        const results = compiled(...xs);
        results.forEach((r, i) => assertClose(r.data(), numbers(expected[i]!), 2e-5, `result ${i} ${r.type.key}`));
        xs.forEach((x, i) => {
          if (!donates || !p.donate.some((d) => d % xs.length === i))
            assert.deepEqual(given[i]!.device.read(given[i]!.buffer, x.bytes), before[i], `argument ${i}`);
        });
      }
      const plan = donating.plan(...inputsOn(p, cpu));
      assert.deepEqual(
        t.withDevice(nothing, () => t.compile(f, { donate: p.donate.map((d) => d % (p.shapes.length + 1)) }).plan(...inputsOn(p, nothing))),
        plan,
      );
      assert.ok(plan.arenaBytes >= plan.arenaLowerBound);
    }),
    { seed, numRuns: RUNS, includeErrorInReport: true },
  );
});

test(`${RUNS / 2} random gradients equal the reference's`, () => {
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
      const expected = t.withDevice(reference, () => interpret(f, inputsOn(p, reference)));
      const results = t.compile(f)(...inputsOn(p, cpu));
      results.forEach((r, i) => assertClose(r.data(), numbers(expected[i]!), i ? 1e-4 : 2e-5, i ? `gradient ${i - 1}` : 'loss'));
    }),
    { seed, numRuns: RUNS / 2, includeErrorInReport: true },
  );
});
