/**
 * Where the keys and values of past tokens are kept. A cache has room for `capacity` tokens and a length that lives on the device, so that one
 * compiled program serves every step; it is a plain tree, and a step that is given it to donate writes into it in place.
 */
import { add, concat, type DType, decodeAttention, full, split, type Tensor, tensor, transpose, updateAt } from '../tensor/index.ts';

/** What a cache must know of a model. */
export interface CacheShape {
  layers: number;
  kvHeads: number;
  headWidth: number;
}

/** A store of keys and values, as a decoder sees it. What it keeps, and in which form, is its own affair. */
export interface KvCache {
  /** Tokens seen: the position of the next one. i32 []. */
  readonly length: Tensor;
  /** Starts a pass over `count` further tokens. */
  extend(count: number): CachePass;
}

/** One pass of a model over new tokens. */
export interface CachePass {
  /**
   * Takes in the keys and values of a layer's new tokens and attends over all that it keeps. q [B, T, H, E], k and v [B, T, Hkv, E], positions in.
   * Once per layer.
   */
  attend(layer: number, q: Tensor, k: Tensor, v: Tensor): Tensor;
  /** The cache with the new tokens; `counted` (i32 [], default all) of them are real, the rest is padding. */
  finish(counted?: Tensor): KvCache;
}

/** Every key and value of every token, in the type that they were computed in. */
export class FullCache implements KvCache {
  /**
   * Of each layer, [B, 2 kvHeads, capacity, headWidth]: the keys of each head, then the values. What a head attends over lies in one piece, and one
   * write takes both in.
   */
  readonly entries: readonly Tensor[];
  readonly length: Tensor;

  constructor(entries: readonly Tensor[], length: Tensor) {
    this.entries = entries;
    this.length = length;
  }

  static empty({ layers, kvHeads, headWidth }: CacheShape, capacity: number, dtype: DType, batch = 1): FullCache {
    const entries = Array.from({ length: layers }, () => full([batch, 2 * kvHeads, capacity, headWidth], 0, dtype));
    return new FullCache(entries, tensor(Int32Array.of(0), { shape: [] }));
  }

  get capacity(): number {
    return this.entries[0]!.shape[2]!;
  }

  extend(count: number): CachePass {
    if (count > this.capacity)
      throw new Error(`[cache] ${count} tokens at once exceed the capacity of ${this.capacity}; raise it, or extend in smaller chunks`);
    const entries = [...this.entries];
    const total = add(this.length, count);
    return {
      attend: (layer, q, k, v) => {
        entries[layer] = updateAt(entries[layer]!, transpose(concat([k, v], 2), 1, 2), this.length, 2);
        const [keys, values] = split(transpose(entries[layer], 1, 2), 2, 2) as [Tensor, Tensor];
        return decodeAttention(q, keys, values, total);
      },
      finish: (counted) => new FullCache(entries, counted ? add(this.length, counted) : total),
    };
  }
}
