/** What programs for a GPU take, planned where there is none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { add, concat, type DType, decodeAttention, permute, split, type Tensor, typeOf, updateAt } from '../../tensor/index.ts';
import { rulesOn } from './rules.ts';

/** Bytes of temporaries of `tokens` new tokens that are written into a cache with room for `capacity`, and attend over it. */
function temporaries(tokens: number, capacity: number, dtype: DType, E: number): number {
  const [Hq, Hkv] = [4, 2];
  const types = [typeOf([1, tokens, Hq + 2 * Hkv, E], dtype), typeOf([1, 2 * Hkv, capacity, E], dtype), typeOf([], 'i32')];
  const pass = (made: Tensor, cache: Tensor, at: Tensor): Tensor[] => {
    const [q, k, v] = split(made, [Hq, Hkv, Hkv], 2) as [Tensor, Tensor, Tensor];
    const headFirst = (x: Tensor): Tensor => permute(x, [0, 2, 1, 3]);
    const entries = updateAt(cache, headFirst(concat([k, v], 2)), at, 2);
    const [keys, values] = split(headFirst(entries), 2, 2) as [Tensor, Tensor];
    return [decodeAttention(q, keys, values, add(at, tokens)), entries];
  };
  return assembleTraced(rulesOn(), pass as (...xs: Tensor[]) => Tensor[], types, [1]).program.arenaBytes;
}

test('reading a prompt through a cache takes no more memory when the cache has more room, and grows with the tokens alone', () => {
  for (const [dtype, E] of [
    ['bf16', 64],
    ['f16', 24],
    ['f32', 32],
  ] as const)
    for (const tokens of [1, 9, 512]) {
      assert.equal(temporaries(tokens, 8192, dtype, E), temporaries(tokens, 1024, dtype, E), `${tokens} tokens in ${dtype}`);
      assert.ok(temporaries(tokens, 8192, dtype, E) <= 4096 + tokens * 24 * E * 4, `${tokens} tokens in ${dtype}`);
    }
});
