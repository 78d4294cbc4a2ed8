/**
 * What linearCrossEntropy and its gradient mean, in primitives: blocks of the vocabulary one after the other, as many columns at a time as the
 * logits and their gradient have room for. Nothing is left out.
 */
import type { LinearCrossEntropyAttrs } from '../ops.ts';
import type { Tensor } from '../tensor.ts';
import { oneHot, takeAlong } from './indexing.ts';
import { concat, narrow, reshape, transpose, unsqueeze } from './layout.ts';
import { matmul } from './linear.ts';
import {
  add,
  barrier,
  cast,
  equal,
  exp,
  full,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  mul,
  square,
  sub,
  tanh,
  where,
} from './pointwise.ts';
import { logSumExp, sum } from './reduce.ts';

interface Block {
  attrs: LinearCrossEntropyAttrs;
  c: Tensor;
  bias: Tensor | undefined;
}

/** The vocabulary in even parts of which [N, columns] fits twice into `memory`, and at least 256 columns. */
function blocksOf(attrs: LinearCrossEntropyAttrs, N: number, c: Tensor, bias?: Tensor): Block[] {
  const V = c.shape[0]!;
  const parts = Math.ceil(V / Math.max(256, Math.floor(attrs.memory / (8 * Math.max(1, N)))));
  const columns = Math.ceil(V / parts);
  return Array.from({ length: Math.ceil(V / columns) }, (_, i) => {
    const [at, size] = [i * columns, Math.min(columns, V - i * columns)];
    return { attrs: { ...attrs, first: attrs.first + at }, c: narrow(c, 0, at, size), bias: bias && narrow(bias, 0, at, size) };
  });
}

function logits({ attrs: { softCap }, c, bias }: Block, e: Tensor): Tensor {
  let a = matmul(cast(e, 'f32'), transpose(cast(c, 'f32')));
  if (bias) a = add(a, bias);
  return softCap ? mul(softCap, tanh(mul(a, 1 / softCap))) : a;
}

/** log(e^a + e^b); -inf where both are. */
function logAddExp(a: Tensor, b: Tensor): Tensor {
  const apart = add(maximum(a, b), log(add(1, exp(sub(minimum(a, b), maximum(a, b))))));
  return where(equal(a, b), add(mul(add(a, b), 0.5), Math.LN2), apart);
}

/** Which rows count, at which column of the block their target is (a target of no shard stays outside and is refused), and whether it is here. */
function place({ attrs: { ignore, first, total }, c }: Block, targets: Tensor): { counted: Tensor; column: Tensor; owned: Tensor } {
  const within = (low: number, high: number): Tensor => mul(cast(lessEqual(low, targets), 'i32'), cast(less(targets, high), 'i32'));
  const counted = sub(1, cast(equal(targets, ignore), 'i32'));
  const owned = mul(within(first, first + c.shape[0]!), counted);
  const elsewhere = sub(within(0, total), owned);
  return { counted, owned, column: where(maximum(elsewhere, sub(1, counted)), 0, sub(targets, first)) };
}

export const linearCrossEntropyReferences = {
  linearCrossEntropy(attrs: LinearCrossEntropyAttrs, [e, c, targets, ...rest]: readonly Tensor[]): Tensor[] {
    const parts = blocksOf(attrs, e!.shape[0]!, c!, attrs.bias ? rest[0] : undefined).map((block) => {
      const a = logits(block, e!);
      const { column, owned } = place(block, targets!);
      const own = reshape(takeAlong(a, unsqueeze(column, -1)), targets!.shape);
      return { logit: where(owned, own, 0), lse: logSumExp(a, -1) };
    });
    const counted = sub(1, cast(equal(targets!, attrs.ignore), 'i32'));
    const tiles = attrs.eps > 0 ? [Math.ceil(targets!.size / 128), Math.ceil(c!.shape[0]! / 256)] : [0, 0];
    return [
      parts.map((p) => p.logit).reduce((x, y) => add(x, y)),
      where(counted, parts.map((p) => p.lse).reduce(logAddExp), 0),
      full(tiles, 1, 'u8'),
    ];
  },
  linearCrossEntropyGrad(attrs: LinearCrossEntropyAttrs, [e, c, targets, lse, dLogit, dLse, , ...rest]: readonly Tensor[]): Tensor[] {
    // behind barriers: the forward pass's logits are computed once more, not kept
    const again = barrier(e!);
    const parts = blocksOf(attrs, e!.shape[0]!, barrier(c!), attrs.bias ? rest[0] : undefined).map((block) => {
      const a = logits(block, again);
      const { counted, column, owned } = place(block, targets!);
      const p = exp(sub(a, unsqueeze(where(counted, lse!, Number.POSITIVE_INFINITY), -1)));
      const hit = mul(oneHot(column, block.c.shape[0]!), unsqueeze(where(owned, dLogit!, 0), -1));
      let g = add(mul(p, unsqueeze(dLse!, -1)), hit);
      if (attrs.softCap) g = mul(g, sub(1, square(mul(a, 1 / attrs.softCap))));
      const dC = cast(matmul(transpose(g), cast(e!, 'f32')), c!.dtype);
      return { dE: matmul(g, cast(block.c, 'f32')), dC, dBias: attrs.bias ? sum(g, 0) : undefined };
    });
    const joined = (pieces: Tensor[]): Tensor => (pieces.length === 1 ? pieces[0]! : concat(pieces, 0));
    return [
      cast(
        parts.map((p) => p.dE).reduce((x, y) => add(x, y)),
        e!.dtype,
      ),
      joined(parts.map((p) => p.dC)),
      attrs.bias ? joined(parts.map((p) => p.dBias!)) : full([0], 0),
      full([Math.ceil(c!.shape[0]! / 32)], 0),
    ];
  },
};
