/** What is offered to cuDNN, and by whose choice. Needs no GPU: nothing is planned for calls that our own kernels take. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { View } from '../../tensor/lower/program.ts';
import { stridesOf } from '../../tensor/shape.ts';
import { type AttentionCall, AttentionLibrary } from './cudnn.ts';
import type { Bench } from './tuning.ts';

const bench: Bench = {
  machine: 'none',
  stream: 0,
  captured: () => assert.fail(),
  timed: () => assert.fail(),
  scratch: () => assert.fail(),
};
const view = (shape: readonly number[], dtype: View['dtype'] = 'bf16'): View => ({
  buffer: 0,
  offset: 0,
  shape,
  strides: stridesOf(shape),
  dtype,
});

function call(E: number, attrs: Partial<AttentionCall['attrs']> = {}, ...more: View[]): AttentionCall {
  const x = view([1, 64, 2, E]);
  return {
    kernel: 'attention',
    attrs: { scale: 1, causal: true, window: 0, ...attrs },
    reads: [x, x, x, ...more],
    writes: [x, view([1, 2, 64], 'f32')],
    label: 'attention',
    flops: 0,
  };
}

function takes(c: AttentionCall, wish?: string): boolean {
  const before = process.env.THIMBLE_ATTENTION;
  if (wish === undefined) delete process.env.THIMBLE_ATTENTION;
  else process.env.THIMBLE_ATTENTION = wish;
  try {
    return new AttentionLibrary(bench).takes(c);
  } finally {
    if (before === undefined) delete process.env.THIMBLE_ATTENTION;
    else process.env.THIMBLE_ATTENTION = before;
  }
}

test('heads, windows, packed sequences and rows that cuDNN has no kernel for stay with ours, also where it is asked for', () => {
  const unaligned = call(64);
  const others: AttentionCall[] = [
    call(80),
    call(64, { causal: false, window: 16 }),
    call(64, {}, view([3], 'i32')),
    { ...unaligned, reads: unaligned.reads.map((v) => ({ ...v, offset: 4 })) } as AttentionCall,
  ];
  for (const other of others) for (const wish of [undefined, 'cudnn']) assert.equal(takes(other, wish), false);
});

test('windows over heads of 64 features stay with ours unless they are asked of cuDNN', () => {
  assert.equal(takes(call(64, { window: 16 })), false);
});

test('our own kernels can be asked for, and the backward pass has to be asked of cuDNN', () => {
  assert.equal(takes(call(64), 'own'), false);
  const x = view([1, 64, 2, 64]);
  const backward = { ...call(64), kernel: 'attentionGrad', writes: [x, x, x, view([1, 2, 64], 'f32')] } as AttentionCall;
  const lse = view([1, 2, 64], 'f32');
  assert.equal(takes({ ...backward, reads: [x, x, x, x, lse, x] } as AttentionCall), false);
});

test('a choice that there is not is named', () => {
  assert.throws(() => takes(call(64), 'flash'), /THIMBLE_ATTENTION is 'flash'; set it to auto, own or cudnn/);
});
