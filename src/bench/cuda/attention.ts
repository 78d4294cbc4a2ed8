/**
 * bf16 attention, forward and backward: cuDNN's kernels and our own beside the best of PyTorch's and its flash-attention kernel. A backward
 * pass counts as 2.5 forward ones, a causal mask halves both.
 */
import { attention, type CallTime, cast, compile, disposeTree, grad, mul, random, sum, type Tensor } from '../../tensor/index.ts';
import { median } from '../median.ts';
import type { Figures, Row, Section } from '../section.ts';

const REPETITIONS = 15;
/** Batch, heads, tokens, features, mask: GPT-2's, and that of a large model with a long context. */
const shapes = [
  [16, 12, 1024, 64, 'causal'],
  [16, 12, 1024, 64, 'full'],
  [4, 16, 4096, 128, 'causal'],
  [4, 16, 4096, 128, 'full'],
] as const;
type ShapeOf = (typeof shapes)[number];
const passes = { attention: 'forward', attentionGrad: 'backward' } as const;
const nameOf = ([b, h, t, e, mask]: ShapeOf, pass: string): string => `B${b} H${h} T${t} E${e} ${mask} ${pass}`;

/** TFLOP/s of both passes by the kernels of `library`. */
function measure(shape: ShapeOf, library: 'own' | 'cudnn'): Figures {
  const [B, H, T, E, mask] = shape;
  const causal = mask === 'causal';
  process.env.THIMBLE_ATTENTION = library; // is read as a program is made
  const make = compile(() => [1, 2, 3, 4].map((i) => cast(random.normal(random.key(i), [B, T, H, E]), 'bf16')));
  const xs = make() as [Tensor, Tensor, Tensor, Tensor];
  const gradients = compile((q: Tensor, k: Tensor, v: Tensor, weights: Tensor) =>
    grad(([a, b, c]: Tensor[]) => sum(mul(cast(attention(a!, b!, c!, { causal }), 'f32'), cast(weights, 'f32'))))([q, k, v]),
  );
  const times: Record<keyof typeof passes, number[]> = { attention: [], attentionGrad: [] };
  for (let i = 0; i < REPETITIONS + 3; i++) {
    const { result, calls }: { result: unknown; calls: CallTime[] } = gradients.profile(...xs);
    for (const { call, ms } of calls) if (i >= 3 && call.kernel in times) times[call.kernel as keyof typeof passes].push(ms);
    disposeTree(result as Tensor[]);
  }
  disposeTree(xs);
  const flops = (4 * B * H * T * T * E) / (causal ? 2 : 1);
  return {
    [`${nameOf(shape, passes.attention)}, ${library}`]: flops / median(times.attention) / 1e9,
    [`${nameOf(shape, passes.attentionGrad)}, ${library}`]: (2.5 * flops) / median(times.attentionGrad) / 1e9,
  };
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
