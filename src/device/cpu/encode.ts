/** Programs -> the words that native/thimble.h describes. */
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Program, View } from '../../tensor/lower/program.ts';
import { windows } from '../../tensor/ops.ts';
import { ceil, crossEntropyTile, gemmBlocks, MAP_GRAIN, rowGrain } from './chunks.ts';
import { instructions } from './registers.ts';
import { code, double, type Encoded, ints, NONE, type Ref } from './words.ts';

const MAGIC = 0x4c424d494854n;
const ABI = 2n;
const MAXD = 6;
const MAX_HEAD = 2048;
const kernels = [
  'map',
  'reduce',
  'argreduce',
  'gemm',
  'norm',
  'normGrad',
  'softmax',
  'softmaxGrad',
  'crossEntropy',
  'crossEntropyGrad',
  'attention',
  'attentionGrad',
  'take',
  'scatterAdd',
  'takeAlong',
  'scatterAlong',
  'argsort',
  'cumsum',
  'unfold',
  'fold',
  'updateAt',
  'linearCrossEntropy',
  'linearCrossEntropyGrad',
] as const;

/**
 * The words of a program, a step for each of its calls, and the number of its buffers: the arena and the externals. The micro-kernel
 * takes `tileRows` of a product at a time.
 */
export function encode(program: Program, tileRows: number): { words: BigInt64Array; slots: number } {
  const ref: Ref = (v) => {
    const b = program.buffers[v.buffer]!;
    const slot = b.external + 1; // slot 0 is the arena
    return [BigInt(slot), BigInt(b.offset + v.offset * itemSize[v.dtype])];
  };
  const steps = program.calls.map((c) => {
    const { extent, grain, words } = encodeCall(c, ref, tileRows);
    const kernel = (kernels as readonly string[]).indexOf(c.kernel === 'decodeAttention' ? 'attention' : c.kernel);
    return [BigInt(kernel), BigInt(words.length), BigInt(extent), BigInt(Math.max(1, grain)), 0n, ...words];
  });
  const slots = program.externals + 1;
  return { words: BigInt64Array.from([MAGIC, ABI, BigInt(steps.length), BigInt(slots), ...steps.flat()]), slots };
}

function mapWords(
  dims: readonly number[],
  reads: readonly View[],
  writes: readonly View[],
  i: ReturnType<typeof instructions>,
  ref: Ref,
): bigint[] {
  if (dims.length > MAXD)
    throw new Error(
      `[cpu] a pointwise call over axes [${dims.join(', ')}] that do not merge: ${dims.length}, and ${MAXD} is the most; permute fewer axes at a time, with a reshape to fewer axes between`,
    );
  const padded = (xs: readonly number[]): bigint[] => Array.from({ length: MAXD }, (_, d) => BigInt(xs[d] ?? (xs === dims ? 1 : 0)));
  const operand = (v: View): bigint[] => [...ref(v), code(v.dtype), ...padded(v.strides)];
  return [
    BigInt(dims.length),
    ...padded(dims),
    BigInt(reads.length),
    BigInt(writes.length),
    BigInt(i.constants.length),
    BigInt(i.code.length),
    ...reads.flatMap(operand),
    ...writes.flatMap(operand),
    ...(writes.length ? ints(...i.results) : []),
    ...i.constants,
    ...i.constantTypes,
    ...i.code,
  ];
}

function encodeCall(call: AnyCall, ref: Ref, tileRows: number): Encoded {
  const { reads, writes } = call;
  const r = (i: number): bigint[] => ref(reads[i]!);
  const w = (i: number): bigint[] => ref(writes[i]!);
  const type = code(reads[0]?.dtype ?? 'f32');
  const size = (dims: readonly number[]): number => dims.reduce((n, d) => n * d, 1);

  switch (call.kernel) {
    case 'map': {
      const { dims, expression } = call.attrs;
      return { extent: size(dims), grain: MAP_GRAIN, words: mapWords(dims, reads, writes, instructions(expression), ref) };
    }
    case 'reduce':
    case 'argreduce': {
      const { dims, expression, op, outer, count, inner } = call.attrs;
      const i = instructions(expression);
      const NB = Math.min(Math.max(1, inner), outer >= 16 ? 1024 : 256);
      const blocks = outer * ceil(inner, NB);
      const words = [
        ...w(0),
        code(writes[0]!.dtype),
        op === 'sum' ? 0n : 1n,
        ...ints(i.results[0]!, outer, count, inner, NB),
        ...mapWords(dims, reads, [], i, ref),
      ];
      return { extent: blocks, grain: rowGrain(blocks, count * NB), words };
    }
    case 'gemm': {
      const { m, n, k, batch } = call.attrs;
      const { MB, NB, grain } = gemmBlocks(m, n, k, batch[0] * batch[1], tileRows);
      const matrix = (v: View): bigint[] => {
        const [b0, b1, row, column] = v.strides as [number, number, number, number];
        return [...ref(v), code(v.dtype), ...ints(row, column, b0, b1)];
      };
      const [c0, c1, cRow] = writes[0]!.strides as [number, number, number, number];
      const perBatch = ceil(m, MB) * ceil(n, NB);
      const words = [
        ...ints(m, n, k, ...batch, MB, NB, 0),
        ...matrix(reads[0]!),
        ...matrix(reads[1]!),
        ...w(0),
        code(writes[0]!.dtype),
        ...ints(cRow, c0, c1),
      ];
      return { extent: batch[0] * batch[1] * perBatch, grain, words };
    }
    case 'gemv':
    case 'appendAttention':
      throw new Error(`[cpu] has no ${call.kernel} kernel: it is made of other calls here; please report this program`);
    case 'norm': {
      const { rows, width, eps, rms, affine } = call.attrs;
      const words = [
        ...ints(rows, width, +rms),
        type,
        double(eps),
        ...r(0),
        ...(affine > 0 ? r(1) : NONE),
        ...(affine > 1 ? r(2) : NONE),
        ...w(0),
        ...(rms ? NONE : w(1)),
        ...w(2),
      ];
      return { extent: rows, grain: rowGrain(rows, width), words };
    }
    case 'normGrad': {
      const { rows, width, rms, affine, parts } = call.attrs;
      const rowsPerPart = ceil(rows, parts);
      const at = reads.length;
      const words = [
        ...ints(rows, width, +rms),
        type,
        BigInt(rowsPerPart),
        ...r(0),
        ...r(1),
        ...(affine ? r(2) : NONE),
        ...(rms ? NONE : r(at - 2)),
        ...r(at - 1),
        ...w(0),
        ...(affine > 0 ? w(1) : NONE),
        ...(affine > 1 ? w(2) : NONE),
      ];
      return { extent: rows, grain: rowsPerPart, words };
    }
    case 'softmax':
    case 'softmaxGrad': {
      const { rows, width } = call.attrs;
      return { extent: rows, grain: rowGrain(rows, width), words: [...ints(rows, width), type, ...reads.flatMap(ref), ...w(0)] };
    }
    case 'crossEntropy':
    case 'crossEntropyGrad': {
      const { rows, width } = call.attrs;
      return {
        extent: rows,
        grain: rowGrain(rows, width),
        words: [...ints(rows, width), type, code(reads[1]!.dtype), ...reads.flatMap(ref), ...writes.flatMap(ref)],
      };
    }
    case 'attention':
    case 'attentionGrad':
    case 'decodeAttention': {
      const { scale, window } = call.attrs;
      const causal = call.kernel === 'decodeAttention' || call.attrs.causal;
      const [B, Tq, Hq, E] = reads[0]!.shape as [number, number, number, number];
      const [, Tk, Hkv, Ev] = reads[2]!.shape as [number, number, number, number];
      if (E > MAX_HEAD || Ev > MAX_HEAD)
        throw new Error(
          `[cpu] attention heads of ${Math.max(E, Ev)} features exceed ${MAX_HEAD}, what fits into a thread's scratch; use more heads`,
        );
      const view = (v: View): bigint[] => [...ref(v), ...ints(v.strides[0]!, v.strides[1]!, v.strides[2]!)];
      const head = ints(B, Hq, Hkv, Tq, Tk, E, Ev, +causal, window);
      const views = [view(reads[0]!), view(reads[1]!), view(reads[2]!)].flat();
      const packed = call.kernel === 'decodeAttention' ? undefined : reads[call.kernel === 'attention' ? 3 : 6];
      const offsets = [...(packed ? ref(packed) : NONE), BigInt(packed ? packed.shape[0]! - 1 : 0)];
      if (call.kernel === 'attentionGrad')
        return {
          extent: B * Hkv,
          grain: 1,
          words: [...head, type, double(scale), ...views, ...r(3), ...r(4), ...r(5), ...writes.slice(0, 3).flatMap(view), ...offsets],
        };
      const QB = Math.min(Tq, 128);
      const length = call.kernel === 'decodeAttention' ? [...r(3), code(reads[3]!.dtype)] : [...NONE, 0n];
      return {
        extent: B * Hq * ceil(Tq, QB),
        grain: 1,
        words: [...head, BigInt(QB), type, double(scale), ...views, ...w(0), ...w(1), ...length, ...offsets],
      };
    }
    case 'linearCrossEntropy':
    case 'linearCrossEntropyGrad': {
      const { ignore, first, total, softCap, bias, eps, filter, sort } = call.attrs;
      const [N, D] = reads[0]!.shape as [number, number];
      const V = reads[1]!.shape[0]!;
      const { RB, CB } = crossEntropyTile(N, D);
      const head = [
        ...ints(N, V, D),
        type,
        code(reads[2]!.dtype),
        ...ints(ignore, first, total, RB, CB),
        double(softCap),
        ...r(0),
        ...r(1),
        ...r(2),
      ];
      if (call.kernel === 'linearCrossEntropy')
        return { extent: ceil(N, RB), grain: 1, words: [...head, ...(bias ? r(3) : NONE), ...w(0), ...w(1)] };
      const [lse, dLogit, dLse] = [r(3), r(4), r(5)];
      return {
        extent: ceil(N, RB) + ceil(V, CB),
        grain: 1,
        words: [
          ...[head, bias ? r(7) : NONE, NONE, lse].flat(),
          ...ints(+filter.e, +filter.c),
          double(eps),
          ...[dLogit, dLse, sort ? r(reads.length - 1) : NONE, w(0), w(1), bias ? w(2) : NONE, w(3)].flat(),
        ],
      };
    }
    case 'take':
    case 'takeAlong':
    case 'scatterAlong': {
      const { outer, axis, inner, picks } = call.attrs;
      const words = [...ints(outer, axis, inner, picks), type, code(reads[1]!.dtype), ...r(0), ...r(1), ...w(0)];
      return call.kernel === 'take'
        ? { extent: outer * picks, grain: ceil(4096, Math.max(1, inner)), words }
        : { extent: outer, grain: ceil(4096, Math.max(1, picks * inner)), words };
    }
    case 'scatterAdd': {
      const { outer, axis, inner, picks } = call.attrs;
      const NB = Math.min(Math.max(1, inner), 32);
      return {
        extent: outer * ceil(inner, NB),
        grain: 1,
        words: [...ints(outer, axis, inner, picks, NB), type, code(reads[1]!.dtype), ...r(0), ...r(1), ...w(0)],
      };
    }
    case 'updateAt': {
      const { outer, axis, inner, picks } = call.attrs;
      const words = [...ints(outer, axis, inner, picks), type, code(reads[1]!.dtype), ...r(0), ...r(1), ...w(0)];
      return { extent: outer, grain: ceil(4096, Math.max(1, picks * inner)), words };
    }
    case 'argsort': {
      const { rows, width, first, descending } = call.attrs;
      return {
        extent: rows,
        grain: rowGrain(rows, width),
        words: [...ints(rows, width, first), type, BigInt(+descending), ...r(0), ...w(0), ...(writes.length > 1 ? w(1) : NONE)],
      };
    }
    case 'cumsum': {
      const { outer, axis, inner } = call.attrs;
      return { extent: outer, grain: ceil(8192, Math.max(1, axis * inner)), words: [...ints(outer, axis, inner), type, ...r(0), ...w(0)] };
    }
    case 'unfold':
    case 'fold': {
      const { kernel, stride, padding, dilation, height, width } = call.attrs;
      const image = call.kernel === 'unfold' ? reads[0]! : writes[0]!;
      const [B, C] = image.shape as [number, number];
      const words = [
        ...ints(B, C, height, width, ...kernel, ...stride, ...padding, ...dilation, ...windows(call.attrs, height, width)),
        type,
        ...r(0),
        ...w(0),
      ];
      return { extent: B * C, grain: ceil(8192, Math.max(1, height * width)), words };
    }
  }
}
