/**
 * bf16 attention, forward and backward: cuDNN's kernels and our own beside the best of PyTorch's and its flash-attention kernel. A backward
 * pass counts as 2.5 forward ones, a causal mask halves both.
 */
import type { CudaDevice } from '../../device/index.ts';
import { attentionWithLse, cast, compile, defaultDevice, disposeTree, random, type Tensor } from '../../tensor/index.ts';
import { applyAll } from '../../tensor/trace.ts';
import type { Figures, Row, Section } from '../section.ts';
import { replayable } from './replay.ts';

/** Batch, heads, tokens, features, mask: GPT-2's, and that of a large model with a long context. */
const shapes = [
  [16, 12, 1024, 64, 'causal'],
  [16, 12, 1024, 64, 'full'],
  [4, 16, 4096, 128, 'causal'],
  [4, 16, 4096, 128, 'full'],
] as const;
type ShapeOf = (typeof shapes)[number];
/** Calls of a graph, each on its own operands: about 0.8 TFLOP. */
const turns = (flops: number): number => Math.min(32, Math.max(4, Math.ceil(8e11 / flops)));
const nameOf = ([b, h, t, e, mask]: ShapeOf, pass: string): string => `B${b} H${h} T${t} E${e} ${mask} ${pass}`;

/** TFLOP/s of both passes by the kernels of `library`. */
function measure(shape: ShapeOf, library: 'own' | 'cudnn'): Figures {
  const [B, H, T, E, mask] = shape;
  const attrs = { causal: mask === 'causal', window: 0, scale: 1 / Math.sqrt(E) };
  process.env.THIMBLE_ATTENTION = library; // is read as a program is made
  const normal = (i: number): Tensor => cast(random.normal(random.key(i), [B, T, H, E]), 'bf16');
  const flops = (4 * B * H * T * T * E) / (attrs.causal ? 2 : 1);
  const device = defaultDevice() as CudaDevice;
  const made = compile(() => Array.from({ length: turns(flops) }, (_, i) => [0, 1, 2, 3].map((j) => normal(4 * i + j))))();
  const forward = (...[q, k, v]: Tensor[]): Tensor[] => {
    const { out, lse } = attentionWithLse(q!, k!, v!, attrs);
    return [out, lse];
  };
  const backward = (...xs: Tensor[]): Tensor[] => applyAll('attentionGrad', attrs, xs).slice(0, 3);
  const operands = made.map((xs) => xs.slice(0, 3));
  const results = compile((sets: Tensor[][]) => sets.map((xs) => forward(...xs)))(operands);
  const teraflops = (each: number, f: (...xs: Tensor[]) => Tensor[], sets: readonly Tensor[][]): number => {
    const types = sets[0]!.map((x) => x.type);
    return each / replayable(device, f, types).microseconds(sets) / 1e6;
  };
  const all = operands.map((xs, i) => [...xs, ...results[i]!, made[i]![3]!]);
  const figures = {
    [`${nameOf(shape, 'forward')}, ${library}`]: teraflops(flops, forward, operands),
    [`${nameOf(shape, 'backward')}, ${library}`]: teraflops(2.5 * flops, backward, all),
  };
  disposeTree([made, results]);
  return figures;
}

const rows = shapes.flatMap((shape) =>
  (['forward', 'backward'] as const).flatMap((pass): Row[] => {
    const name = nameOf(shape, pass);
    return [
      { name: `${name}, cudnn`, unit: 'TFLOP/s', theirs: `${name}, best`, atLeast: 0.97 },
      { name: `${name}, own`, unit: 'TFLOP/s', theirs: `${name}, flash`, atLeast: pass === 'forward' ? 0.9 : 0.8 },
    ];
  }),
);

export const section: Section = {
  title: 'bf16 attention: cuDNN / the best of PyTorch, own kernels / its flash kernel',
  peer: 'cuda_attention.py',
  rounds: 2,
  rows,
  measure(): Figures {
    const figures: Figures = {};
    for (const shape of shapes)
      for (const library of ['cudnn', 'own'] as const)
        try {
          Object.assign(figures, measure(shape, library));
        } catch (error) {
          figures[`${nameOf(shape, library)}`] = (error as Error).message;
        }
    return figures;
  },
};
