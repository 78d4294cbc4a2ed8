/** The rows of the op table for whole functions that a device may have one kernel for; what they mean in other ops is in functions/fused.ts. */
import {
  attentionFlops,
  attentionTypes,
  checkWindow,
  like,
  linearCrossEntropyTypes,
  needFloat,
  needInt,
  perInput,
  traffic,
} from './op-rules.ts';
import type { OpTable } from './op-types.ts';
import { ShapeError, sameShape, show, typeOf } from './shape.ts';

export type FusedOp =
  | 'norm'
  | 'normGrad'
  | 'softmax'
  | 'softmaxGrad'
  | 'crossEntropy'
  | 'crossEntropyGrad'
  | 'attention'
  | 'decodeAttention'
  | 'attentionGrad'
  | 'linearCrossEntropy'
  | 'linearCrossEntropyGrad';

export const fusedOps: Pick<OpTable, FusedOp> = {
  norm: {
    kind: 'fused',
    infer({ affine }, [x, ...params]) {
      needFloat('norm', x!);
      const D = x!.shape.at(-1);
      if (!D) throw new ShapeError(`[norm] ${x!.key} has no last axis of at least one element to take a mean over`);
      for (const p of params)
        if (p.size !== D || p.shape.length !== 1 || p.dtype !== 'f32')
          throw new ShapeError(`[norm] gain and bias must be f32[${D}] for ${x!.key}, not ${p.key}`);
      if (params.length !== affine) throw new ShapeError(`[norm] expected ${affine} gain and bias tensors, got ${params.length}`);
      const rows = typeOf(x!.shape.slice(0, -1), 'f32');
      return [x!, rows, rows];
    },
    flops: perInput(8),
    bytes: traffic,
  },
  normGrad: {
    kind: 'fused',
    // dy, x, [gain], mean, rstd -> dx, dgain, dbias
    infer(_, [, x]) {
      const parameter = typeOf([x!.shape.at(-1)!], 'f32');
      return [x!, parameter, parameter];
    },
    flops: perInput(14),
    bytes: traffic,
  },
  softmax: { kind: 'fused', infer: (_, [x]) => [needFloat('softmax', x!)], flops: perInput(12), bytes: traffic },
  softmaxGrad: { kind: 'fused', infer: like, flops: perInput(4), bytes: traffic },
  crossEntropy: {
    kind: 'fused',
    infer(_, [x, y]) {
      needFloat('crossEntropy', x!);
      needInt('crossEntropy', y!);
      if (!sameShape(x!.shape.slice(0, -1), y!.shape))
        throw new ShapeError(
          `[crossEntropy] labels ${show(y!.shape)} do not match logits ${show(x!.shape)}; they lack exactly the class axis`,
        );
      const rows = typeOf(y!.shape, 'f32');
      return [rows, rows];
    },
    flops: perInput(12),
    bytes: traffic,
  },
  crossEntropyGrad: { kind: 'fused', infer: like, flops: perInput(11), bytes: traffic },
  attention: {
    kind: 'fused',
    infer({ window }, inputs) {
      checkWindow('attention', window);
      const { B, Tq, Hq, Ev } = attentionTypes(inputs);
      return [typeOf([B, Tq, Hq, Ev], inputs[0]!.dtype), typeOf([B, Hq, Tq], 'f32')];
    },
    flops: (_, inputs) => attentionFlops(inputs),
    bytes: traffic,
  },
  decodeAttention: {
    kind: 'fused',
    infer({ window }, inputs) {
      checkWindow('decodeAttention', window);
      const { B, Tq, Tk, Hq, Ev } = attentionTypes(inputs.slice(0, 3));
      const length = needInt('decodeAttention', inputs[3]!);
      if (length.size !== 1) throw new ShapeError(`[decodeAttention] needs one length, not ${length.key}`);
      if (Tq > Tk) throw new ShapeError(`[decodeAttention] ${Tq} queries are more than the ${Tk} keys that there is room for`);
      return [typeOf([B, Tq, Hq, Ev], inputs[0]!.dtype), typeOf([B, Hq, Tq], 'f32')];
    },
    flops: (_, inputs) => attentionFlops(inputs),
    bytes: traffic,
  },
  // q, k, v, o, lse, dO (offsets) -> dq, dk, dv, and sum(o * dO) per query: scratch that the planner must know about
  attentionGrad: {
    kind: 'fused',
    infer: (_, [q, k, v, , lse]) => [q!, k!, v!, lse!],
    flops: (_, inputs) => 2.5 * attentionFlops(inputs),
    bytes: traffic,
  },
  // e, c, targets, [bias], [order] -> the target's logit (0 where it is a row of another shard) and the log-sum-exp of all, both 0 for ignored
  // rows; and, where eps > 0, whether each 128 x 256 tile of the logits in order may hold an element that the filter keeps (for the device's own gradient: one that does not ask leaves it unwritten)
  linearCrossEntropy: {
    kind: 'fused',
    infer(attrs, inputs) {
      const { rows, columns } = linearCrossEntropyTypes(attrs, inputs);
      return [rows, rows, typeOf(attrs.eps > 0 ? [Math.ceil(rows.size / 128), Math.ceil(columns.size / 256)] : [0, 0], 'u8')];
    },
    flops: (_, [e, c]) => 2 * e!.size * c!.shape[0]!,
    bytes: traffic,
  },
  // e, c, targets, lse, dlogit, dlse, tiles, [bias], [order] -> de, dc, dbias, and the share of the tiles over each 32 vocabulary rows that was left out
  linearCrossEntropyGrad: {
    kind: 'fused',
    infer: ({ bias }, [e, c]) => [e!, c!, typeOf([bias ? c!.shape[0]! : 0], 'f32'), typeOf([Math.ceil(c!.shape[0]! / 32)], 'f32')],
    flops: (_, [e, c]) => 6 * e!.size * c!.shape[0]!,
    bytes: traffic,
  },
};
