/** Token-EDA: augmentation of code indices, before they become vectors (SeiT, Park et al. 2023, arXiv 2303.11114). */
import {
  abs,
  add,
  bitAnd,
  cast,
  embedding,
  equal,
  floor,
  greaterEqual,
  iota,
  less,
  matmul,
  maximum,
  mul,
  narrow,
  normalize,
  random,
  reshape,
  sub,
  type Tensor,
  takeAlong,
  topK,
  transpose,
  where,
} from '../../../tensor/index.ts';

/** The n nearest other codes of each code of a codebook [K, d_c], by cosine, nearest first: i32 [K, n]. */
export function nearestCodes(codebook: Tensor, n: number): Tensor {
  const unit = normalize(codebook);
  const K = unit.shape[0]!;
  const self = cast(equal(reshape(iota(K), [K, 1]), iota(K)), 'f32');
  return topK(sub(matmul(unit, transpose(unit)), mul(self, 4)), n).indices;
}

/** With probability p per image, each token becomes, with probability p, a random one of its synonyms i32 [K, n]. codes i32 [B, h, w]. */
export function replaceSynonyms(key: random.Key, codes: Tensor, synonyms: Tensor, p: number): Tensor {
  const [images, tokens, choice] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
  const B = codes.shape[0]!;
  const chosen = mul(cast(random.bernoulli(images, [B, 1, 1], p), 'f32'), cast(random.bernoulli(tokens, codes.shape, p), 'f32'));
  const rank = random.randint(choice, [codes.size, 1], 0, synonyms.shape[1]!);
  const synonym = reshape(takeAlong(embedding(synonyms, reshape(codes, [-1])), rank, 1), codes.shape);
  return where(greaterEqual(chosen, 1), synonym, codes);
}

/**
 * With probability p per image, swaps two squares of tokens of side U(0, 0.25) x H (rounded down, at least 1), where their corners are
 * farther apart than the side along an axis; otherwise the image stays. codes i32 [B, h, w].
 */
export function swapSquares(key: random.Key, codes: Tensor, p: number): Tensor {
  const [B, h, w] = codes.shape as [number, number, number];
  const [who, size, place] = random.splitKey(key, 3) as [random.Key, random.Key, random.Key];
  const side = maximum(floor(random.uniform(size, [B, 1], 0, 0.25 * h)), 1);
  const u = random.uniform(place, [B, 4]);
  const corner = (i: number, n: number): Tensor => cast(floor(mul(narrow(u, 1, i, 1), sub(n + 1, side))), 'i32'); // [B, 1]
  const [y1, x1, y2, x2] = [corner(0, h), corner(1, w), corner(2, h), corner(3, w)] as const;
  const s = cast(side, 'i32');
  const apart = greaterEqual(maximum(abs(sub(y1, y2)), abs(sub(x1, x2))), s);
  const swapped = bitAnd(cast(apart, 'i32'), cast(random.bernoulli(who, [B, 1], p), 'i32'));

  const n = iota(h * w);
  const row = reshape(cast(floor(mul(add(cast(n, 'f32'), 0.5), 1 / w)), 'i32'), [1, h * w]);
  const column = sub(reshape(n, [1, h * w]), mul(row, w));
  const inside = (y: Tensor, x: Tensor): Tensor => {
    const within = (at: Tensor, from: Tensor): Tensor => bitAnd(cast(greaterEqual(at, from), 'i32'), cast(less(at, add(from, s)), 'i32'));
    return bitAnd(swapped, bitAnd(within(row, y), within(column, x)));
  };
  const shift = add(mul(sub(y2, y1), w), sub(x2, x1));
  const source = add(reshape(n, [1, h * w]), mul(shift, sub(inside(y1, x1), inside(y2, x2))));
  return reshape(takeAlong(reshape(codes, [B, h * w]), source, 1), codes.shape);
}
