/** Calls -> CUDA source and launches. Each distinct kernel is written once; shapes are constants in it, pointers its only parameters. */
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Call, View } from '../../tensor/lower/program.ts';
import { windows } from '../../tensor/ops.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { attentionKernels } from './attention.ts';
import { constant, mapKernel, reduceKernel, storageType } from './codegen.ts';
import type { AttentionCall } from './cudnn.ts';
import { gemvKernel } from './gemv.ts';

/** Memory of the device that all programs share: the count of bad indices, room for partial results, counters that are zero between launches. */
export type Shared = 'bad' | 'workspace' | 'tickets';
const sharedType: Record<Shared, string> = { bad: 'u32 *', workspace: 'float *', tickets: 'u32 *' };
/** Elements that the shared memory has at least. */
export const WORKSPACE_FLOATS = 8 << 20;
export const TICKETS = 1 << 14;

/** One launch: a kernel with pointers to views (in this order) and bytes of dynamic shared memory, or a call of a library. */
export type Launch =
  | {
      kind: 'kernel';
      name: string;
      grid: readonly [number, number, number];
      block: number;
      shared?: number;
      views: readonly (View | Shared | null)[];
    }
  | { kind: 'gemm'; call: Call<'gemm'> }
  | { kind: 'cudnn'; call: AttentionCall };

/** Collects the kernels of one program; the same text is one kernel. */
export class Sources {
  readonly #names = new Map<string, string>();
  readonly #texts: string[] = [];

  /** @param write makes the source for a name. */
  add(key: string, write: (name: string) => string): string {
    let name = this.#names.get(key);
    if (!name) {
      name = `k${this.#names.size}`;
      this.#names.set(key, name);
      this.#texts.push(write(name));
    }
    return name;
  }
  text(): string {
    return this.#texts.join('\n');
  }
}

const ceil = (a: number, b: number): number => Math.ceil(a / b);
const blocks = (threads: number): readonly [number, number, number] => [Math.max(1, Math.ceil(threads / 256)), 1, 1];

/** The launches of a call, in order; none for one without elements. `library` says whether cuDNN takes an attention. */
export function launchesOf(call: AnyCall, sources: Sources, library: (call: AttentionCall) => boolean = () => false): Launch[] {
  const { reads, writes } = call;
  const pointer = (v: View): string => `${storageType[v.dtype]} *`;
  /** A kernel that calls `body` (a function of the .cuh files) with its parameters p0, p1, ... */
  const kernel = (
    views: readonly (View | Shared | null)[],
    grid: readonly [number, number, number],
    body: (p: (i: number) => string) => string,
    { block = 256, shared = 0, resident = 1 }: { block?: number; shared?: number; resident?: number } = {},
  ): Launch[] => {
    if (grid.some((g) => g === 0)) return [];
    const types = views.map((v) => (typeof v === 'string' ? sharedType[v] : v ? pointer(v) : 'float *'));
    const code = body((i) => (views[i] ? `p${i}` : '(float *)nullptr'));
    const name = sources.add(
      `${types.join()}|${code}`,
      (n) =>
        `extern "C" __global__ void __launch_bounds__(${block}, ${resident}) ${n}(${types.map((t, i) => `${t}p${i}`).join(', ')}) { ${code} }`,
    );
    return [{ kind: 'kernel', name, grid, block, shared, views }];
  };

  switch (call.kernel) {
    case 'map': {
      const { dims, expression } = call.attrs;
      if (sizeOf(dims) === 0) return [];
      const views = (vs: readonly View[]): string => vs.map((v) => `${v.dtype}:${v.strides.join()}:${v.offset % 4}`).join(';');
      let threads = 0;
      const make = (n: string): string => {
        const made = mapKernel(n, dims, expression, reads, writes);
        threads = made.threads;
        return made.source;
      };
      make('measure');
      const name = sources.add(`map|${dims.join()}|${JSON.stringify(expression, finite)}|${views(reads)}|${views(writes)}`, make);
      return [{ kind: 'kernel', name, grid: blocks(threads), block: 256, views: [...reads, ...writes] }];
    }
    case 'reduce':
    case 'argreduce': {
      const made = reduceKernel('@', call.attrs, reads, writes[0]!, call.kernel === 'argreduce');
      if (call.attrs.outer * call.attrs.inner === 0) return [];
      const name = sources.add(made.source, (n) => made.source.replace('@', n));
      return [{ kind: 'kernel', name, grid: [made.grid[0], made.grid[1], 1], block: made.block, views: [...reads, writes[0]!] }];
    }
    case 'gemm':
      return call.attrs.m * call.attrs.n ? [{ kind: 'gemm', call }] : [];
    case 'gemv': {
      const made = gemvKernel('@', call);
      const name = sources.add(made.source, (n) => made.source.replace('@', n));
      return [{ kind: 'kernel', name, grid: [made.grid, 1, 1], block: made.block, views: [...reads, ...writes] }];
    }
    case 'norm': {
      const { rows, width, eps, rms, affine } = call.attrs;
      const views = [
        reads[0]!,
        affine > 0 ? reads[1]! : null,
        affine > 1 ? reads[2]! : null,
        writes[0]!,
        rms ? null : writes[1]!,
        writes[2]!,
      ];
      return kernel(views, [rows, 1, 1], (p) =>
        `norm(${[0, 1, 2, 3, 4, 5].map(p).join(', ')}, ${width}ull, ${eps}f, ${rms});`.replace(`${eps}f`, constant(eps, 'f32')),
      );
    }
    case 'normGrad': {
      const { rows, width, rms, affine, rowsPerPart } = call.attrs;
      const [dy, x] = reads as [View, View];
      const gain = affine ? reads[2]! : null;
      const mean = rms ? null : reads.at(-2)!;
      const rstd = reads.at(-1)!;
      const dx = kernel(
        [dy, x, gain, mean, rstd, writes[0]!],
        [rows, 1, 1],
        (p) => `norm_grad_x(${[0, 1, 2, 3, 4, 5].map(p).join(', ')}, ${width}ull, ${rms});`,
      );
      if (!affine) return dx;
      const parts = [dy, x, mean, rstd, writes[1]!, affine > 1 ? writes[2]! : null];
      return [
        ...dx,
        ...kernel(
          parts,
          [Math.ceil(width / 32), Math.ceil(rows / rowsPerPart), 1],
          (p) => `norm_grad_parameters(${[0, 1, 2, 3, 4, 5].map(p).join(', ')}, ${rows}ull, ${width}ull, ${rowsPerPart}ull, ${rms});`,
        ),
      ];
    }
    case 'softmax':
      return kernel([reads[0]!, writes[0]!], [call.attrs.rows, 1, 1], (p) => `softmax(${p(0)}, ${p(1)}, ${call.attrs.width}ull);`);
    case 'softmaxGrad':
      return kernel(
        [...reads, writes[0]!],
        [call.attrs.rows, 1, 1],
        (p) => `softmax_grad(${p(0)}, ${p(1)}, ${p(2)}, ${call.attrs.width}ull);`,
      );
    case 'crossEntropy':
      return kernel(
        [...reads, ...writes],
        [call.attrs.rows, 1, 1],
        (p) => `cross_entropy(${[0, 1, 2, 3].map(p).join(', ')}, ${call.attrs.width}ull);`,
      );
    case 'crossEntropyGrad':
      return kernel(
        [...reads, writes[0]!],
        [call.attrs.rows, 1, 1],
        (p) => `cross_entropy_grad(${[0, 1, 2, 3, 4].map(p).join(', ')}, ${call.attrs.width}ull);`,
      );
    case 'take':
    case 'takeAlong': {
      const { outer, axis, inner, picks } = call.attrs;
      const f = call.kernel === 'take' ? 'take' : 'take_along';
      return kernel(
        [...reads, writes[0]!, 'bad'],
        outer * inner * picks ? blocks(outer * picks * inner) : [0, 0, 0],
        (p) => `${f}(${[0, 1, 2, 3].map(p).join(', ')}, ${outer}ull, ${axis}ull, ${inner}ull, ${picks}ull);`,
      );
    }
    case 'scatterAlong': {
      const { outer, axis, inner, picks } = call.attrs;
      return kernel(
        [...reads, writes[0]!, 'bad'],
        outer * inner ? blocks(outer * inner) : [0, 0, 0],
        (p) => `scatter_along(${[0, 1, 2, 3].map(p).join(', ')}, ${outer}ull, ${axis}ull, ${inner}ull, ${picks}ull);`,
      );
    }
    case 'scatterAdd': {
      const { outer, axis, inner, picks } = call.attrs;
      return kernel(
        [...reads, writes[0]!, 'bad'],
        [Math.ceil(axis / 64), outer, 1],
        (p) => `scatter_add(${[0, 1, 2, 3].map(p).join(', ')}, ${axis}ull, ${inner}ull, ${picks}ull);`,
      );
    }
    case 'updateAt': {
      const { outer, axis, inner, picks } = call.attrs;
      return kernel(
        [...reads, writes[0]!, 'bad'],
        outer * inner * picks ? blocks(outer * picks * inner) : [0, 0, 0],
        (p) => `update_at(${[0, 1, 2, 3].map(p).join(', ')}, ${outer}ull, ${axis}ull, ${inner}ull, ${picks}ull);`,
      );
    }
    case 'argsort': {
      const { rows, width, descending } = call.attrs;
      if (rows * width === 0) return [];
      const [out, work] = writes as [View, View];
      const passes = Math.max(1, Math.ceil(Math.log2(width)));
      // the last pass must end in `out`
      return Array.from({ length: passes }, (_, i) => {
        const [from, to] = (passes - i) % 2 ? [work, out] : [out, work];
        return kernel(
          [reads[0]!, i ? from : null, to],
          blocks(rows * width),
          (p) =>
            `merge_pass(${p(0)}, ${i ? p(1) : '(const int *)nullptr'}, ${p(2)}, ${rows}ull, ${width}ull, ${2 ** i}ull, ${descending});`,
        );
      }).flat();
    }
    case 'cumsum': {
      const { outer, axis, inner } = call.attrs;
      return kernel(
        [reads[0]!, writes[0]!],
        outer * axis * inner ? blocks(inner === 1 ? outer * 32 : outer * inner) : [0, 0, 0],
        (p) => `cumsum(${p(0)}, ${p(1)}, ${outer}ull, ${axis}ull, ${inner}ull);`,
      );
    }
    case 'unfold':
    case 'fold': {
      const { kernel: k, stride, padding, dilation, height, width } = call.attrs;
      const [B, C] = (call.kernel === 'unfold' ? reads[0]! : writes[0]!).shape as [number, number];
      const w = [B, C, height, width, ...k, ...stride, ...padding, ...dilation, ...windows(call.attrs, height, width)].join(', ');
      return kernel([reads[0]!, writes[0]!], blocks(sizeOf(writes[0]!.shape)), (p) => `${call.kernel}(${p(0)}, ${p(1)}, Window{${w}});`);
    }
    case 'linearCrossEntropy':
    case 'linearCrossEntropyGrad':
      throw new Error(`[cuda] has no ${call.kernel} kernel: it runs as its reference here`);
    case 'attention':
    case 'attentionGrad':
      return library(call)
        ? [{ kind: 'cudnn', call }]
        : attentionKernels(call).flatMap(({ views, grid, body, ...shape }) => kernel(views, grid, body, shape));
    case 'decodeAttention': {
      const { scale, window } = call.attrs;
      const [B, Tq, Hq, E] = reads[0]!.shape as [number, number, number, number];
      const [, C, Hkv] = reads[1]!.shape as [number, number, number];
      const queries = (Hq / Hkv) * Tq;
      const Q = Math.min(8, queries);
      const rows = Hkv * ceil(queries, Q);
      if (B * rows === 0) return [];
      // enough blocks to fill a large GPU, each with at least one chunk of keys
      const pack = 16 / itemSize[reads[0]!.dtype];
      const chunk = (4 * 128) / 2 ** Math.ceil(Math.log2(E / pack));
      const room = Math.floor(WORKSPACE_FLOATS / (B * rows * Q * (E + 2)));
      const splits = B * rows > TICKETS ? 1 : Math.max(1, Math.min(ceil(C, chunk), ceil(512, B * rows), room));
      const aligned = reads.slice(0, 3).every((v) => v.offset % pack === 0 && v.strides.slice(0, 3).every((s) => s % pack === 0));
      const steps = (v: View): string => `Steps{${v.strides.slice(0, 3).map((s) => `${s}ull`)}}`;
      const given = (p: (i: number) => string): string => [0, 1, 2].map((i) => `${p(i)}, ${steps(reads[i]!)}`).join(', ');
      return kernel(
        [...reads, ...writes, 'workspace', 'tickets'],
        [splits, rows, B],
        (p) =>
          `decode_attention<${storageType[reads[0]!.dtype]}, ${E}, ${Q}, ${aligned}>(${given(p)}, ${[3, 4, 5, 6, 7].map(p)}, ` +
          `DecodeShape{${[Hq, Hkv, Tq, C, window]}, ${constant(scale, 'f32')}});`,
        { block: 128 },
      );
    }
  }
}

const finite = (_: string, v: unknown): unknown => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v);
