import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../assemble-traced.ts';
import * as t from '../index.ts';
import { type Tensor, typeOf } from '../index.ts';

/** The calls of a step over a cache [1, 4, 32, 8] from four heads [1, 1, 6, 8], by label; what is donated: the cache. */
function calls(f: (qkv: Tensor, cache: Tensor, at: Tensor) => Tensor[], appends = true): string[] {
  const types = [typeOf([1, 1, 6, 8], 'f32'), typeOf([1, 4, 32, 8], 'f32'), typeOf([], 'i32')];
  const { program } = assembleTraced({ fused: () => true, appends: () => appends }, f as (...xs: Tensor[]) => Tensor[], types, [1]);
  return program.calls.map((c) => `${c.kernel} ${c.label}`);
}
/** Between [B, T, H, E] and [B, H, T, E]. */
const turned = (x: Tensor): Tensor => t.permute(x, [0, 2, 1, 3]);
function step(made: Tensor, cache: Tensor, at: Tensor, length: Tensor): Tensor[] {
  const [q, k, v] = t.split(made, [2, 2, 2], 2) as [Tensor, Tensor, Tensor];
  const entries = t.updateAt(cache, turned(t.concat([k, v], 2)), at, 2);
  const [keys, values] = t.split(turned(entries), 2, 2) as [Tensor, Tensor];
  return [t.decodeAttention(q, keys, values, length), entries];
}

test('the expression of queries and entries and their write are part of the attention, in the memory of a donated cache', () => {
  const f = (qkv: Tensor, cache: Tensor, at: Tensor): Tensor[] => step(t.tanh(qkv), cache, at, t.add(at, 1));
  assert.deepEqual(calls(f), ['map add', 'appendAttention tanh+updateAt+decodeAttention']);
  assert.deepEqual(calls(f, false), ['map tanh', 'map add', 'updateAt updateAt', 'decodeAttention decodeAttention']);
});

test('what others read too is stored, and read', () => {
  assert.deepEqual(
    calls((qkv, cache, at) => {
      const made = t.tanh(qkv);
      return [...step(made, cache, at, t.add(at, 1)), made];
    }),
    ['map tanh', 'map add', 'appendAttention updateAt+decodeAttention'],
  );
});

test('entries of another expression, queries that repeat and keys that are no heads of the cache stay apart', () => {
  const last = (f: (q: Tensor, entries: Tensor, cache: Tensor, at: Tensor) => Tensor[]): string | undefined =>
    calls((qkv, cache, at) => {
      const [q, entries] = t.split(t.tanh(qkv), [2, 4], 2) as [Tensor, Tensor];
      return f(q, entries, cache, at);
    }).at(-1);
  const attend = (q: Tensor, cache: Tensor, at: Tensor, positions = 32): Tensor => {
    const [keys, values] = t.split(t.slice(turned(cache), null, [0, positions]), 2, 2) as [Tensor, Tensor];
    return t.decodeAttention(q, keys, values, t.add(at, 1));
  };
  const together = last((q, entries, cache, at) => {
    const written = t.updateAt(cache, turned(entries), at, 2);
    return [attend(q, written, at), written];
  });
  assert.equal(together, 'appendAttention tanh+updateAt+decodeAttention');
  for (const f of [
    (q, _, cache, at) => {
      const written = t.updateAt(cache, turned(t.sin(t.concat([q, q], 2))), at, 2);
      return [attend(q, written, at), written];
    },
    (q, entries, cache, at) => {
      const written = t.updateAt(cache, turned(entries), at, 2);
      return [attend(t.broadcastTo(t.slice(q, null, null, [0, 1]), [1, 1, 2, 8]), written, at), written];
    },
    (q, entries, cache, at) => {
      const written = t.updateAt(cache, turned(entries), at, 2);
      return [attend(q, written, at, 16), written];
    },
  ] satisfies Parameters<typeof last>[0][])
    assert.equal(last(f), 'decodeAttention decodeAttention');
});

test('numbers that lie side by side in one vector are two numbers', () => {
  assert.deepEqual(
    calls((qkv, cache, at) => {
      const both = t.tanh(t.cast(t.concat([t.reshape(at, [1]), t.reshape(t.add(at, 5), [1])]), 'f32'));
      const [start, end] = t.split(t.cast(both, 'i32'), 2, 0) as [Tensor, Tensor];
      return step(t.tanh(qkv), cache, start, t.add(end, 1));
    }).at(-1),
    'decodeAttention decodeAttention',
  );
});

test('a write of other keys than the last ones stays apart', () => {
  assert.deepEqual(
    calls((qkv, cache, at) => step(t.tanh(qkv), cache, at, t.add(at, 2))),
    ['map tanh', 'map add', 'updateAt updateAt', 'decodeAttention decodeAttention'],
  );
});
