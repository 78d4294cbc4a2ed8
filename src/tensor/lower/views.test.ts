import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sizeOf, stridesOf } from '../shape.ts';
import type { View } from './program.ts';
import { broadcastView, collapse, flipView, isContiguous, permuteView, reshapeView, sliceView } from './views.ts';

const whole = (shape: readonly number[]): View => ({ buffer: 0, offset: 0, shape, strides: stridesOf(shape), dtype: 'f32' });

/** Where the elements are, in row-major order. */
function places({ offset, shape, strides }: Pick<View, 'offset' | 'shape' | 'strides'>): number[] {
  let out = [offset];
  shape.forEach((d, i) => {
    out = out.flatMap((at) => Array.from({ length: d }, (_, k) => at + k * strides[i]!));
  });
  return out;
}

/** A view after some steps; every number is read modulo what there is. */
const viewed = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }),
    fc.array(fc.tuple(fc.nat(3), fc.nat(99), fc.nat(99)), { maxLength: 4 }),
  )
  .map(([shape, steps]) =>
    steps.reduce<View>((v, [kind, a, b]) => {
      const rank = v.shape.length;
      if (!rank) return broadcastView(v, [1 + (a % 3)]);
      const axis = a % rank;
      if (kind === 0)
        return permuteView(
          v,
          [...v.shape.keys()].sort((p, q) => ((p * 7 + a) % 5) - ((q * 7 + a) % 5)),
        );
      if (kind === 1) return flipView(v, [axis]);
      if (kind === 2) return rank < 5 ? broadcastView(v, [1 + (b % 3), ...v.shape]) : v;
      const step = 1 + (b % 2);
      const start = b % v.shape[axis]!;
      const only = (x: number, rest: readonly number[]): number[] => v.shape.map((_, i) => (i === axis ? x : rest[i]!));
      const [zeros, ones] = [v.shape.map(() => 0), v.shape.map(() => 1)];
      return sliceView(v, {
        start: only(start, zeros),
        size: only(Math.ceil((v.shape[axis]! - start) / step), v.shape),
        step: only(step, ones),
      });
    }, whole(shape)),
  );

/** Another shape of as many elements. */
function factored(size: number, choices: readonly number[]): number[] {
  const shape: number[] = [];
  let left = size;
  for (const c of choices) {
    const divisors = Array.from({ length: left }, (_, i) => i + 1).filter((d) => left % d === 0);
    const d = divisors[c % divisors.length]!;
    shape.push(d);
    left /= d;
  }
  return [...shape, left];
}

test('a reshaped view walks the same places, and there is one whenever strides can express it', () => {
  let [made, refused] = [0, 0];
  fc.assert(
    fc.property(viewed, fc.array(fc.nat(99), { maxLength: 3 }), (v, choices) => {
      const shape = factored(sizeOf(v.shape), choices);
      const expected = places(v);
      const w = reshapeView(v, shape);
      if (w) {
        made++;
        assert.deepEqual(w.shape, shape);
        assert.deepEqual(places(w), expected);
      } else {
        refused++;
        const unit = stridesOf(shape);
        const strides = shape.map((d, i) => (d > 1 ? expected[unit[i]!]! - expected[0]! : 0));
        assert.notDeepEqual(places({ offset: expected[0]!, shape, strides }), expected, 'strides that would do');
      }
    }),
    { seed: 1, numRuns: 2000 },
  );
  assert.ok(made > 200 && refused > 100, `${made} made, ${refused} refused`);
});

test('slices, flips and permutations read what their definitions say', () => {
  const v = whole([3, 4]);
  assert.deepEqual(places(sliceView(v, { start: [0, 1], size: [2, 2], step: [2, 2] })), [1, 3, 9, 11]);
  assert.deepEqual(places(flipView(v, [1])), [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8]);
  assert.deepEqual(places(permuteView(v, [1, 0])), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
  assert.deepEqual(places(broadcastView({ ...v, shape: [3, 1] }, [2, 3, 2])), [0, 0, 4, 4, 8, 8, 0, 0, 4, 4, 8, 8]);
  assert.deepEqual(places(flipView(whole([0, 2]), [0, 1])), []);
});

test('a collapsed space has the same places for all operands, with as few axes as can be', () => {
  fc.assert(
    fc.property(viewed, fc.nat(3), (v, kind) => {
      const other = [stridesOf(v.shape), v.strides, v.shape.map(() => 0), v.shape.map((_, i) => 100 ** i)][kind]!;
      const { dims, strides } = collapse(v.shape, [v.strides, other]);
      [v.strides, other].forEach((s, o) =>
        assert.deepEqual(places({ offset: 0, shape: dims, strides: strides[o]! }), places({ offset: 0, shape: v.shape, strides: s })),
      );
      assert.ok(dims.length === 1 || !dims.includes(1));
      for (let i = 1; i < dims.length; i++)
        assert.ok(
          strides.some((s) => s[i - 1] !== s[i]! * dims[i]!),
          `axes ${i - 1} and ${i} of ${dims} could be one`,
        );
    }),
    { seed: 2, numRuns: 1000 },
  );
});

test('contiguous means that the places are 0, 1, 2, ...', () => {
  fc.assert(
    fc.property(viewed, (v) => {
      const at = places(v);
      assert.equal(
        isContiguous(v),
        at.every((p, i) => p === at[0]! + i),
      );
    }),
    { seed: 3, numRuns: 1000 },
  );
});
