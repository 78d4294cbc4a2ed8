/** The loss of a linear head over a large vocabulary, without all of its logits in memory. */
import {
  add,
  barrier,
  cast,
  concat,
  crossEntropy,
  customVjp,
  div,
  full,
  greaterEqual,
  iota,
  itemSize,
  less,
  matmul,
  maximum,
  mul,
  narrow,
  pad,
  reshape,
  sum,
  type Tensor,
  transpose,
  valueAndGrad,
  where,
} from '../tensor/index.ts';

/** Rows of logits begin at multiples of this, as the fast kernels of products want them. */
const ALIGNMENT = 128;

export interface HeadLossOptions {
  /** Bytes that a block of logits may take; default 256 MB. */
  memory?: number;
}

/**
 * Mean cross-entropy of softmax(x table^T) over the rows whose label is in 0..V-1. x [..., D], table [V, D] of one dtype, labels [...] integers. Rows
 * are taken a block at a time, and the gradients of a block are computed while its logits exist: a mean's cotangent is one number, by which they can
 * be multiplied afterwards (Hsu et al. 2024, arXiv 2410.10989, section 3.2). That is three products for each block; `linearCrossEntropy` keeps no
 * logits and needs four.
 */
export function headLoss(x: Tensor, table: Tensor, labels: Tensor, options: HeadLossOptions = {}): Tensor {
  const [V, D] = table.shape as [number, number];
  const rows = reshape(x, [-1, D]);
  const wanted = reshape(labels, [-1]);
  const width = Math.ceil(V / ALIGNMENT) * ALIGNMENT;
  const blocks = blocksOf(rows.shape[0]!, (options.memory ?? 256e6) / (width * itemSize[x.dtype]));
  const counted = mul(cast(greaterEqual(wanted, 0), 'f32'), cast(less(wanted, V), 'f32'));
  const share = div(1, maximum(sum(counted), 1));

  const inOnePass = customVjp(
    (rows, table) => {
      const padded = barrier(pad(table, [0, 0], [width - V, 0]));
      const absent = cast(where(less(iota(width), V), 0, -1e30), x.dtype); // columns that are only there for the alignment have no probability
      const lossOf = ({ x, c }: { x: Tensor; c: Tensor }, y: Tensor): Tensor => sum(crossEntropy(add(matmul(x, transpose(c)), absent), y));
      let loss = full([], 0);
      let dTable: Tensor | undefined;
      const dRows: Tensor[] = [];
      for (const [start, size] of blocks) {
        const block = { x: narrow(rows, 0, start, size), c: padded };
        const [l, g] = valueAndGrad(lossOf)(block, narrow(wanted, 0, start, size));
        loss = add(loss, l);
        dTable = barrier(dTable ? add(g.c, dTable) : g.c); // the sum grows block by block, it does not wait for all terms
        dRows.push(g.x);
      }
      return [loss, concat(dRows, 0), narrow(dTable!, 0, 0, V)];
    },
    ([g], _, [, ...gradients]) => gradients.map((d) => cast(mul(cast(d!, 'f32'), g!), d!.dtype)),
  );
  return mul(inOnePass(rows, table)[0]!, share);
}

/** [start, size] of blocks of at most `most` rows: equal and aligned where half as many rows allow that, else about equal. */
function blocksOf(rows: number, most: number): [number, number][] {
  const least = Math.max(1, Math.ceil(rows / Math.max(1, most)));
  const counts = Array.from({ length: least }, (_, i) => least + i);
  const count = counts.find((n) => rows % (n * ALIGNMENT) === 0) ?? least;
  const size = Math.max(1, Math.ceil(rows / count / ALIGNMENT)) * ALIGNMENT;
  const starts = Array.from({ length: Math.max(1, Math.ceil(rows / size)) }, (_, i) => i * size);
  return starts.map((start) => [start, Math.min(size, rows - start)]);
}
