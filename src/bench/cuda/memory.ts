/**
 * The memory-bound kernels of a GPT-2-small train step (16 x 1024 tokens, d = 768, bf16 activations, f32 master weights), each as a program
 * of its own, beside device-to-device copies in the same process: one of 512 MB, and one of as many bytes, which shows what the start and the
 * end of a launch leave of the first. GPU time by events around replays of a graph that walks over as many copies of the operands as the
 * second-level cache cannot hold, and so often that its own launch does not count: a step has hundreds of kernels in a graph.
 */

import type { CudaDevice } from '../../device/index.ts';
import { AdamW } from '../../nn/optim.ts';
import * as t from '../../tensor/index.ts';
import { compile, type DType, defaultDevice, disposeTree, grad, isFloat, sizeOf, type Tensor } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import { applyAll } from '../../tensor/trace.ts';
import type { Figures, Section } from '../section.ts';
import { microsecondsOf, replayable, setsOf, walksOf } from './replay.ts';

export type Operand = readonly [shape: readonly number[], dtype: DType, below?: number];

interface MemoryCase {
  name: string;
  inputs: readonly Operand[];
  /** Inputs that results take over. */
  donate?: readonly number[];
  f(...xs: Tensor[]): readonly Tensor[];
  /** Bytes that cannot be avoided; default: every input and every result once. */
  bytes?: number;
}

const [R, D, V] = [16384, 768, 50257];
const x: Operand = [[R, D], 'bf16'];
const hidden: Operand = [[R, 4 * D], 'bf16'];
const row: Operand = [[D], 'f32'];
const perRow: Operand = [[R], 'f32'];
const logits: Operand = [[4096, V], 'bf16'];
const labels: Operand = [[4096], 'i32', V];

/** The gradient of sum(f(x) * dy) with respect to the first `n` of xs. */
const back =
  (f: (...xs: Tensor[]) => Tensor, n: number) =>
  (dy: Tensor, ...xs: Tensor[]): readonly Tensor[] =>
    grad((ys: Tensor[]) => t.sum(t.mul(t.cast(f(...ys, ...xs.slice(n)), 'f32'), t.cast(dy, 'f32'))))(xs.slice(0, n)) as Tensor[];

/** The parameters of GPT-2 small: 148 tensors, 124 million numbers. */
const parameters: readonly (readonly number[])[] = [
  [V, D],
  [1024, D],
  ...Array.from({ length: 12 }, () => [[D], [D], [D, 3 * D], [3 * D], [D, D], [D], [D], [D], [D, 4 * D], [4 * D], [4 * D, D], [D]]).flat(),
  [D],
  [D],
];
const all = (dtype: DType): Operand[] => parameters.map((shape) => [shape, dtype]);
const P = parameters.length;

const heads = (a: Tensor): Tensor => t.permute(t.reshape(a, [16, 1024, 12, 64]), [0, 2, 1, 3]);

export const memoryCases: readonly MemoryCase[] = [
  { name: 'cast f32 -> bf16', inputs: [[[R, D], 'f32']], f: (a) => [t.cast(a, 'bf16')] },
  { name: 'bias', inputs: [x, [[D], 'bf16']], f: (a, b) => [t.add(a, b)] },
  { name: 'bias + residual', inputs: [x, x, [[D], 'bf16']], f: (a, b, c) => [t.add(t.add(a, c), b)] },
  { name: 'bias + gelu (tanh)', inputs: [hidden, [[4 * D], 'bf16']], f: (a, b) => [t.geluTanh(t.add(a, b))] },
  { name: 'gelu (tanh) backward', inputs: [hidden, hidden], f: back(t.geluTanh, 1) },
  { name: 'gelu (erf)', inputs: [hidden], f: (a) => [t.gelu(a)] },
  { name: 'dropout + residual', inputs: [x, x, [[2], 'i32', 1000]], f: (a, b, key) => [t.add(t.random.dropout(key, a, 0.1), b)] },
  { name: 'transpose of a matrix', inputs: [hidden], f: (a) => [t.mul(t.transpose(a), 1)] },
  { name: 'permute [B,T,H,E] -> [B,H,T,E]', inputs: [x], f: (a) => [t.mul(heads(a), 1)] },
  { name: 'bias gradient [16384, 768]', inputs: [x], f: (a) => [t.sum(t.cast(a, 'f32'), 0)] },
  { name: 'bias gradient [16384, 3072]', inputs: [hidden], f: (a) => [t.sum(t.cast(a, 'f32'), 0)] },
  { name: 'row sums [16384, 768]', inputs: [x], f: (a) => [t.sum(t.cast(a, 'f32'), 1)] },
  { name: 'row maxima [16384, 3072]', inputs: [hidden], f: (a) => [t.max(a, 1)] },
  { name: 'sum of squares, 38 M', inputs: [[[V, D], 'f32']], f: (a) => [t.sum(t.square(a))] },
  { name: 'layerNorm', inputs: [x, row, row], f: (a, g, b) => [t.layerNorm(a, g, b)] },
  {
    name: 'layerNorm backward',
    inputs: [x, x, row, row, perRow, perRow],
    f: (dy, a, g, _, mean, rstd) => applyAll('normGrad', { rms: false, affine: 2 }, [dy, a, g, mean, rstd]),
  },
  {
    name: 'rmsNorm [4096, 4096]',
    inputs: [
      [[4096, 4096], 'bf16'],
      [[4096], 'f32'],
    ],
    f: (a, g) => [t.rmsNorm(a, g)],
  },
  { name: 'softmax [16384, 1024]', inputs: [[[R, 1024], 'bf16']], f: (a) => [t.softmax(a)] },
  {
    name: 'softmax backward [16384, 1024]',
    inputs: [
      [[R, 1024], 'bf16'],
      [[R, 1024], 'bf16'],
    ],
    f: (dy, y) => applyAll('softmaxGrad', {}, [dy, y]),
  },
  { name: 'crossEntropy [4096, 50257]', inputs: [logits, labels], f: (a, y) => applyAll('crossEntropy', {}, [a, y]) },
  {
    name: 'crossEntropy backward [4096, 50257]',
    inputs: [logits, labels, [[4096], 'f32'], [[4096], 'f32']],
    f: (a, y, lse, g) => applyAll('crossEntropyGrad', {}, [a, y, lse, g]),
  },
  {
    name: 'embedding',
    inputs: [
      [[V, D], 'bf16'],
      [[R], 'i32', V],
    ],
    f: (w, ids) => [t.take(w, ids)],
    bytes: 2 * 2 * R * D + 4 * R,
  },
  {
    name: 'embedding gradient',
    inputs: [x, [[R], 'i32', V]],
    f: (dy, ids) => [t.scatterAdd(dy, ids, V)],
  },
  {
    name: 'adamw, 148 tensors',
    inputs: [...all('f32'), ...all('bf16'), ...all('f32'), ...all('f32'), [[], 'f32'], [[], 'f32']],
    donate: [...Array(P).keys(), ...Array.from({ length: 2 * P }, (_, i) => 2 * P + i)],
    bytes: parameters.reduce((n, s) => n + sizeOf(s) * (3 * 8 + 2 + 2), 0),
    f: (...xs) => {
      const part = (i: number): Tensor[] => xs.slice(i * P, (i + 1) * P);
      const [step, lr] = xs.slice(4 * P) as [Tensor, Tensor];
      const next = new AdamW({ group: (_, p) => ({ weightDecay: p.rank > 1 ? 0.1 : 0 }) }).update(
        part(0),
        part(1),
        { step, m: part(2), v: part(3) },
        lr,
      );
      return [...next.model, ...next.state.m, ...next.state.v, ...next.model.map((p) => t.cast(p, 'bf16'))];
    },
  },
  { name: 'argsort [64, 65536]', inputs: [[[64, 65536], 'f32']], f: (a) => [t.argsort(a)] },
  {
    name: 'top-50 of [64, 50257]',
    inputs: [[[64, V], 'f32']],
    f: (a) => {
      const { values, indices } = t.topK(a, 50);
      return [values, indices];
    },
  },
  { name: 'cumsum [4096, 4096]', inputs: [[[4096, 4096], 'f32']], f: (a) => [t.cumsum(a)] },
  { name: 'cumsum over columns [4096, 4096]', inputs: [[[4096, 4096], 'f32']], f: (a) => [t.cumsum(a, 0)] },
];

const draws = new Map<string, (key: Tensor) => Tensor>();
/** Floats in [-1, 1); whole numbers from a skewed law, as token ids have. */
function filled(device: CudaDevice, operand: Operand, seed: number): Tensor {
  const [shape, dtype, below = 2] = operand;
  const kind = JSON.stringify(operand);
  const draw =
    draws.get(kind) ??
    compile(
      (key: Tensor) => {
        const u = t.random.uniform(key, shape);
        return isFloat(dtype) ? t.cast(t.sub(t.mul(u, 2), 1), dtype) : t.cast(t.mul(t.mul(t.mul(u, u), u), below), dtype);
      },
      { device },
    );
  draws.set(kind, draw);
  return draw(t.random.key(seed));
}

/** Arguments for so many runs, each of which moves `bytes`, that the second-level cache cannot hold them. */
export const drawn = (device: CudaDevice, inputs: readonly Operand[], bytes: number): Tensor[][] =>
  Array.from({ length: setsOf(bytes) }, (_, s) => inputs.map((operand, i) => filled(device, operand, 1 + i + 1000 * s)));

/** Bandwidth of a copy of 512 MB inside the device, bytes read and written, in GB/s. */
export function copyBandwidth(device: CudaDevice): number {
  const bytes = 1024e6;
  return bytes / copyMicroseconds(device, bytes) / 1e3;
}

/** Bytes of a page. Copies of other sizes than multiples of 2 KiB take the driver half as long again. */
const WHOLE = 4096;

/**
 * Microseconds of a copy inside the device that moves `bytes`, half of them read and half written, with as cold a cache as the kernels have:
 * what the start and the end of a launch leave of the bandwidth at that size.
 */
export function copyMicroseconds(device: CudaDevice, bytes: number): number {
  const half = Math.ceil(bytes / 2 / WHOLE) * WHOLE;
  const pairs = Array.from({ length: setsOf(bytes) }, () => [device.alloc(half), device.alloc(half)] as const);
  const walks = walksOf(pairs.length);
  const all = (): void => {
    for (let w = 0; w < walks; w++) for (const [from, to] of pairs) device.copy(to, from, half);
  };
  const us = microsecondsOf(device, all) / (walks * pairs.length);
  for (const buffer of pairs.flat()) device.free(buffer);
  return us;
}

/** Microseconds on the GPU of one run, and the bytes that it cannot avoid. */
export function timed(device: CudaDevice, c: MemoryCase): { us: number; bytes: number; launches: number } {
  const types = c.inputs.map(([shape, dtype]) => typeOf(shape, dtype));
  const made = replayable(device, c.f, types, c.donate);
  const bytes = c.bytes ?? made.bytes;
  const sets = drawn(device, c.inputs, bytes);
  const us = made.microseconds(sets, walksOf(sets.length));
  disposeTree(sets);
  return { us, bytes, launches: made.launches };
}

export const section: Section = {
  title: 'memory-bound kernels / a copy, and / PyTorch',
  peer: 'cuda_memory.py',
  rows: memoryCases.flatMap(({ name }) => [
    { name, unit: 'GB/s', theirs: 'copy', atLeast: 0.85 },
    { name: `${name}: / copy of as many bytes`, unit: 'us', ours: `${name} us`, theirs: `${name}: copy us`, atMost: 1 / 0.85 },
    { name: `${name}: / eager`, unit: 'us', ours: `${name} us`, theirs: `${name} us`, atMost: 1 },
    { name: `${name}: / torch.compile`, unit: 'us', ours: `${name} us`, theirs: `${name} us, compiled`, atMost: 1 },
  ]),
  measure(): Figures {
    const device = defaultDevice() as CudaDevice;
    const figures: Figures = { copy: copyBandwidth(device) };
    for (const c of memoryCases) {
      const { us, bytes } = timed(device, c);
      figures[c.name] = bytes / us / 1e3;
      figures[`${c.name} us`] = us;
      figures[`${c.name}: copy us`] = copyMicroseconds(device, bytes);
    }
    return figures;
  },
};
