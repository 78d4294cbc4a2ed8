/**
 * bf16 attention, forward and backward: cuDNN's kernels and our own beside the best of PyTorch's and its flash-attention kernel. A backward
 * pass counts as 2.5 forward ones, a causal mask halves both.
 */
import type { CudaDevice } from '../../device/index.ts';
import { attentionWithLse, cast, compile, defaultDevice, disposeTree, random, type Tensor } from '../../tensor/index.ts';
import { applyAll } from '../../tensor/trace.ts';
import type { Section } from '../section.ts';
import type { Turn } from '../turns.ts';
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

const passes = ['forward', 'backward'] as const;
const libraries = ['cudnn', 'own'] as const;
const cases = shapes.flatMap((shape) =>
  passes.flatMap((pass) => libraries.map((library) => ({ shape, pass, library, name: `${nameOf(shape, pass)}, ${library}` }))),
);

export const section: Section = {
  title: 'bf16 attention: cuDNN / the best of PyTorch, own kernels / its flash kernel',
  peer: 'cuda_attention.py',
  rows: cases.map(({ shape, pass, library, name }) => ({
    name,
    unit: 'TFLOP/s',
    theirs: `${nameOf(shape, pass)}, ${library === 'own' ? 'flash' : 'best'}`,
    atLeast: library === 'cudnn' ? 0.97 : pass === 'forward' ? 0.9 : 0.8,
  })),
  /** TFLOP/s of one pass by the kernels of one library. */
  prepare(wanted): Turn {
    const { shape, pass, library } = cases.find(({ name }) => name === wanted)!;
    const [B, H, T, E, mask] = shape;
    const attrs = { causal: mask === 'causal', window: 0, scale: 1 / Math.sqrt(E) };
    process.env.THIMBLE_ATTENTION = library; // is read as a program is made
    const normal = (i: number): Tensor => cast(random.normal(random.key(i), [B, T, H, E]), 'bf16');
    const flops = (4 * B * H * T * T * E) / (attrs.causal ? 2 : 1);
    const forward = (...[q, k, v]: Tensor[]): Tensor[] => {
      const { out, lse } = attentionWithLse(q!, k!, v!, attrs);
      return [out, lse];
    };
    const backward = (...xs: Tensor[]): Tensor[] => applyAll('attentionGrad', attrs, xs).slice(0, 3);
    const sets = compile(() => Array.from({ length: turns(flops) }, (_, i) => [0, 1, 2].map((j) => normal(4 * i + j))))();
    if (pass === 'backward') {
      const results = compile((all: Tensor[][]) => all.map((xs, i) => [...forward(...xs), normal(4 * i + 3)]))(sets);
      sets.forEach((xs, i) => xs.push(...results[i]!));
    }
    const made = replayable(
      defaultDevice() as CudaDevice,
      pass === 'forward' ? forward : backward,
      sets[0]!.map((x) => x.type),
    );
    const turn = made.turn(sets, (us) => ((pass === 'forward' ? 1 : 2.5) * flops) / us / 1e6);
    return {
      ...turn,
      free() {
        turn.free();
        disposeTree(sets);
      },
    };
  },
};
