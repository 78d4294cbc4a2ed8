/** What a program for a GPU is made of. It follows from the card's numbers alone: plans are made where there is no card, too. */
import type { Target } from '../../tensor/device.ts';
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall } from '../../tensor/lower/program.ts';
import type { TensorType } from '../../tensor/shape.ts';
import { hasAttention } from './attention.ts';
import { HOPPER } from './calls.ts';
import { hasEpilogue, readable } from './cublaslt.ts';
import { FEW_TOKENS } from './decode-attention.ts';
import { type GemvTarget, skinnyOn } from './gemv.ts';
import { crossEntropyFits, crossEntropyScratch } from './linear-cross-entropy.ts';
import { argsortScratch } from './order.ts';
import { reduceParts } from './reductions.ts';
import { normGradParts } from './rows.ts';
import { scatterScratch } from './scatter.ts';

/** Whether there is a kernel for a fused op on such operands. */
function hasKernel(op: string, inputs: readonly TensorType[], capability: number): boolean {
  if (op === 'decodeAttention') {
    const [q, , v] = inputs as [TensorType, TensorType, TensorType];
    const E = q.shape[3]!;
    return E % (16 / itemSize[q.dtype]) === 0 && E <= 128 && v.shape[3] === E;
  }
  if (op.startsWith('linearCrossEntropy')) return crossEntropyFits(inputs, capability);
  // attention is made of products that come with 8.0
  return (op !== 'attention' && op !== 'attentionGrad') || (capability >= 80 && hasAttention(inputs));
}

/** Bytes that our own kernel of a call needs beside its operands. */
function scratchBytes(call: AnyCall, card: GemvTarget): number {
  if (call.kernel === 'linearCrossEntropy' || call.kernel === 'linearCrossEntropyGrad') return crossEntropyScratch(call);
  if (call.kernel === 'argsort') return argsortScratch(call);
  return call.kernel === 'scatterAdd' ? scatterScratch(call, card) : 0;
}

/** The rules of a card without cuDNN, which may want room of its own; default: an H100. */
export const rulesOn = (card: GemvTarget = HOPPER) =>
  ({
    fused: (op, inputs) => hasKernel(op, inputs, card.capability),
    gemmReads: readable,
    reduceParts: (outer, count, inner) => reduceParts(outer, count, inner, card.capability),
    normGradParts: (x) => normGradParts(x, card),
    scratchBytes: (call) => scratchBytes(call, card),
    epilogue: hasEpilogue,
    skinny: skinnyOn(card),
    appends: (tokens) => tokens <= FEW_TOKENS,
  }) satisfies Target;
