import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Graph, type Node, type Value } from '../graph.ts';
import { typeOf } from '../shape.ts';
import type { Unit } from './cluster.ts';
import { UnitGraph } from './unit-graph.ts';

/** Unit i makes value i and reads some of the values before it. */
function graphOf(reads: readonly (readonly number[])[]): { graph: UnitGraph; units: Unit[]; values: Value[] } {
  const { nodes } = new Graph();
  const values: Value[] = [];
  const units = reads.map((list, id): Unit => {
    const node = { id, op: 'exp', attrs: {}, inputs: [], outputs: [] as Value[] } as unknown as Node;
    (node.outputs as Value[]).push({ node, index: 0, type: typeOf([1], 'f32') });
    nodes.push(node);
    values.push(node.outputs[0]!);
    return { id, roots: [], node, reads: new Set(id ? list.map((r) => values[r % id]!) : []) };
  });
  const unitOf = new Map(values.map((v, i) => [v, units[i]!]));
  return { graph: new UnitGraph({ units: [...units].reverse(), stored: new Set(), unitOf }), units, values };
}

/** The same question asked of the whole program. */
function needs(graph: UnitGraph, later: Unit, first: Unit, direct: Value): boolean {
  const seen = new Set<Unit>();
  const visit = (v: Value): boolean => {
    const u = graph.unitOf.get(v)!;
    if (u === first) return true;
    if (seen.has(u)) return false;
    seen.add(u);
    return [...u.reads].some(visit);
  };
  return [...later.reads].some((v) => v !== direct && visit(v));
}

test('who waits for whom stays known while units are taken into others', () => {
  const program = fc.array(fc.array(fc.nat(40), { maxLength: 3 }), { minLength: 2, maxLength: 25 });
  let taken = 0;
  fc.assert(
    fc.property(program, fc.array(fc.nat(1000), { maxLength: 12 }), (reads, choices) => {
      const { graph, units, values } = graphOf(reads);
      for (const c of choices) {
        const [direct] = [values[c % values.length]!];
        const first = graph.unitOf.get(direct)!;
        for (const later of graph.units)
          if (later !== first && later.reads.has(direct))
            assert.equal(graph.waitsFor(later, first, direct), needs(graph, later, first, direct));
        const later = [...graph.readersOf(direct)][c % 3];
        if (!later || later === first || graph.waitsFor(later, first, direct)) continue;
        // the later one takes the earlier one in, with all that it makes
        graph.makes(
          later,
          values.filter((v) => graph.unitOf.get(v) === first),
        );
        graph.takeIn(first, later, direct);
        taken++;
      }
      for (const v of values)
        assert.deepEqual(new Set(graph.readersOf(v)), new Set(units.filter((u) => graph.units.has(u) && u.reads.has(v))));
    }),
    { numRuns: 200, seed: 7 },
  );
  assert.ok(taken > 100, `${taken} units were taken in`);
});

test('a program of a hundred thousand units in a row is no problem', () => {
  const { graph, units, values } = graphOf(Array.from({ length: 100_000 }, (_, i) => [i - 1, Math.max(0, i - 2)]));
  assert.equal(graph.waitsFor(units.at(-1)!, units.at(-2)!, values.at(-2)!), false);
  assert.equal(graph.waitsFor(units.at(-1)!, units.at(-3)!, values.at(-3)!), true);
});
