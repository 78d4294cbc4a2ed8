/** Calls -> CUDA source and launches. Each distinct kernel is written once; shapes are constants in it, pointers its only parameters. */
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Call, View } from '../../tensor/lower/program.ts';
import { windows } from '../../tensor/ops.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { attentionKernels } from './attention.ts';
import { constant, storageType } from './codegen.ts';
import type { AttentionCall } from './cudnn.ts';
import { gemvKernel } from './gemv.ts';
import { shortLoop } from './launch.ts';
import { crossEntropyGradKernels, crossEntropyKernels } from './linear-cross-entropy.ts';
import { manyMapsKernel, mapKernel } from './maps.ts';
import { argsort } from './order.ts';
import { reduceKernel } from './reductions.ts';
import { rowKernels } from './rows.ts';
import { cumsum } from './scan.ts';
import { scatterAdd } from './scatter.ts';

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
      views: readonly (View | Shared | null | number)[];
    }
  | { kind: 'gemm'; call: Call<'gemm'> }
  | { kind: 'cudnn'; call: AttentionCall };

/** Makes a kernel that calls a function of the .cuh files with its parameters p(0), p(1), ... */
export type Kernel = (
  views: readonly (View | Shared | null | number)[],
  grid: readonly [number, number, number],
  body: (p: (i: number) => string) => string,
  /** Threads of a block, bytes of dynamic shared memory, and blocks that a multiprocessor should hold at once. */
  options?: { block?: number; shared?: number; resident?: number },
) => Launch[];

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

/** Neighbours that one access moves in rows of `inner` elements: 16 bytes where alignment allows. */
export function rowPack(inner: number, views: readonly View[]): number {
  let width = 16 / itemSize[views[0]!.dtype];
  while (width > 1 && (inner % width || views.some((v) => v.offset % width))) width /= 2;
  return width;
}

/** One launch for calls of one kind (group.ts). */
export function launchOfMany(calls: readonly (Call<'map'> | Call<'reduce'>)[], sources: Sources): Launch {
  const [first] = calls as [AnyCall];
  const operands = (c: Pick<AnyCall, 'reads' | 'writes'>): View[] => [...c.reads, ...c.writes];
  const launch = ({ source, blocks }: { source: string; blocks: number }, rows: number, views: View[]): Launch => {
    const name = sources.add(source, (n) => source.replaceAll('@', n));
    return { kind: 'kernel', name, grid: [blocks, rows, 1], block: 256, views };
  };
  const { reads, writes } = first;
  if (first.kernel === 'reduce')
    return launch(reduceKernel('@', first.attrs, reads, writes[0]!, false, calls.length), calls.length, calls.flatMap(operands));
  const maps = calls as readonly Call<'map'>[];
  const walked = (v: View): boolean => v.strides[0] !== 0;
  const made = manyMapsKernel(
    '@',
    maps.map((c) => c.attrs.dims[0]!),
    maps[0]!.attrs.expression,
    reads,
    writes,
  );
  return launch(made, 1, [...calls.flatMap(operands).filter(walked), ...operands(first).filter((v) => !walked(v))]);
}

/** What the launches depend on beside the call. */
export interface Abilities {
  /** Whether cuDNN takes an attention. */
  library?: (call: AttentionCall) => boolean;
  /** Shared memory that a block may have. */
  sharedBytes?: number;
}
const SHARED_BYTES = 227 << 10;

/** The launches of a call, in order; none for one without elements. */
export function launchesOf(
  call: AnyCall,
  sources: Sources,
  { library = () => false, sharedBytes = SHARED_BYTES }: Abilities = {},
): Launch[] {
  const { reads, writes } = call;
  const pointer = (v: View): string => `${storageType[v.dtype]} *`;
  const kernel: Kernel = (views, grid, body, { block = 256, shared = 0, resident } = {}) => {
    if (grid.some((g) => g === 0)) return [];
    const types = views.map((v) => (typeof v === 'number' ? 'u64 ' : typeof v === 'string' ? sharedType[v] : v ? pointer(v) : 'float *'));
    const code = body((i) => (views[i] === null ? '(float *)nullptr' : `p${i}`));
    const name = sources.add(
      `${types.join()}|${code}`,
      (n) =>
        `extern "C" __global__ void __launch_bounds__(${block}${resident ? `, ${resident}` : ''}) ${n}(${types.map((t, i) => `${t}p${i}`).join(', ')}) { ${code} }`,
    );
    return [{ kind: 'kernel', name, grid, block, shared, views }];
  };

  switch (call.kernel) {
    case 'map': {
      const { dims, expression } = call.attrs;
      if (sizeOf(dims) === 0) return [];
      const { source, blocks } = mapKernel('@', dims, expression, reads, writes);
      const name = sources.add(source, (n) => source.replaceAll('@', n));
      return [{ kind: 'kernel', name, grid: [blocks, 1, 1], block: 256, views: [...reads, ...writes] }];
    }
    case 'reduce':
    case 'argreduce': {
      const made = reduceKernel('@', call.attrs, reads, writes[0]!, call.kernel === 'argreduce');
      if (call.attrs.outer * call.attrs.inner === 0) return [];
      const name = sources.add(made.source, (n) => made.source.replaceAll('@', n));
      return [{ kind: 'kernel', name, grid: [made.blocks, 1, 1], block: 256, views: [...reads, writes[0]!] }];
    }
    case 'gemm':
      return call.attrs.m * call.attrs.n ? [{ kind: 'gemm', call: shortLoop(call) }] : [];
    case 'gemv': {
      const made = gemvKernel('@', call);
      const name = sources.add(made.source, (n) => made.source.replaceAll('@', n));
      return [{ kind: 'kernel', name, grid: [made.grid, 1, 1], block: made.block, views: [...reads, ...writes] }];
    }
    case 'norm':
    case 'normGrad':
    case 'softmax':
    case 'softmaxGrad':
    case 'crossEntropy':
    case 'crossEntropyGrad':
      return rowKernels(call, kernel);
    case 'take': {
      const { outer, axis, inner, picks } = call.attrs;
      const width = rowPack(inner, [reads[0]!, writes[0]!]);
      const packs = (outer * picks * inner) / width;
      const u = packs * width < 2 ** 32 ? 'u' : 'ull';
      return kernel(
        [...reads, writes[0]!, 'bad'],
        packs ? blocks(packs) : [0, 0, 0],
        (p) => `take<${width}>(${[0, 1, 2, 3].map(p).join(', ')}, ${[outer, axis, inner, picks].map((n) => n + u).join(', ')});`,
      );
    }
    case 'takeAlong': {
      const { outer, axis, inner, picks } = call.attrs;
      return kernel(
        [...reads, writes[0]!, 'bad'],
        outer * inner * picks ? blocks(outer * picks * inner) : [0, 0, 0],
        (p) => `take_along(${[0, 1, 2, 3].map(p).join(', ')}, ${outer}ull, ${axis}ull, ${inner}ull, ${picks}ull);`,
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
    case 'scatterAdd':
      return scatterAdd(call, kernel);
    case 'updateAt': {
      const { outer, axis, inner, picks } = call.attrs;
      return kernel(
        [...reads, writes[0]!, 'bad'],
        outer * inner * picks ? blocks(outer * picks * inner) : [0, 0, 0],
        (p) => `update_at(${[0, 1, 2, 3].map(p).join(', ')}, ${outer}ull, ${axis}ull, ${inner}ull, ${picks}ull);`,
      );
    }
    case 'argsort':
      return argsort(call, kernel);
    case 'cumsum':
      return cumsum(call, kernel);
    case 'unfold':
    case 'fold': {
      const { kernel: k, stride, padding, dilation, height, width } = call.attrs;
      const [B, C] = (call.kernel === 'unfold' ? reads[0]! : writes[0]!).shape as [number, number];
      const w = [B, C, height, width, ...k, ...stride, ...padding, ...dilation, ...windows(call.attrs, height, width)].join(', ');
      return kernel([reads[0]!, writes[0]!], blocks(sizeOf(writes[0]!.shape)), (p) => `${call.kernel}(${p(0)}, ${p(1)}, Window{${w}});`);
    }
    case 'linearCrossEntropy':
      return crossEntropyKernels(call).flatMap(({ views, grid, body, ...shape }) => kernel(views, grid, body, shape));
    case 'linearCrossEntropyGrad':
      return crossEntropyGradKernels(call).flatMap(({ views, grid, body, ...shape }) => kernel(views, grid, body, shape));
    case 'attention':
    case 'attentionGrad':
      return library(call)
        ? [{ kind: 'cudnn', call }]
        : attentionKernels(call, sharedBytes).flatMap(({ views, grid, body, ...shape }) => kernel(views, grid, body, shape));
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
