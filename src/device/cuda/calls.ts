/** Calls -> CUDA source and launches. Each distinct kernel is written once; shapes are constants in it, pointers its only parameters. */
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Call, View } from '../../tensor/lower/program.ts';
import { windows } from '../../tensor/ops.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { attentionKernels } from './attention.ts';
import { storageType } from './codegen.ts';
import type { AttentionCall } from './cudnn.ts';
import { decodeKernels } from './decode-attention.ts';
import { gemvKernel } from './gemv.ts';
import { type Operand, shortLoop } from './launch.ts';
import { crossEntropyGradKernels, crossEntropyKernels } from './linear-cross-entropy.ts';
import { manyMapsKernel, mapKernel } from './maps.ts';
import { argsort } from './order.ts';
import { reduceKernel } from './reductions.ts';
import { rowKernels } from './rows.ts';
import { cumsum } from './scan.ts';
import { scatterAdd } from './scatter.ts';
import type { Shared } from './shared.ts';
import { isMatrix } from './tensor-map.ts';

const sharedType: Record<Shared, string> = { bad: 'u32 *', workspace: 'float *', tickets: 'u32 *' };

/** One launch: a kernel, which begins by waiting for the one before it (prelude.cuh), with pointers to views (in this order) and bytes of dynamic shared memory, or a call of a library. */
export type Launch =
  | {
      kind: 'kernel';
      name: string;
      grid: readonly [number, number, number];
      block: number;
      shared?: number;
      /** Neighbours that run together. */
      cluster?: number;
      views: readonly Operand[];
    }
  | { kind: 'gemm'; call: Call<'gemm'> }
  | { kind: 'cudnn'; call: AttentionCall };

/** Makes a kernel that calls a function of the .cuh files with its parameters p(0), p(1), ... */
export type Kernel = (
  views: readonly Operand[],
  grid: readonly [number, number, number],
  body: (p: (i: number) => string) => string,
  /**
   * Threads of a block, bytes of dynamic shared memory, blocks that a multiprocessor should hold at once, neighbours that run together, and what is
   * done before its turn.
   */
  options?: { block?: number; shared?: number; resident?: number; cluster?: number; early?: (p: (i: number) => string) => string },
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

const blocks = (threads: number): readonly [number, number, number] => [Math.max(1, Math.ceil(threads / 256)), 1, 1];

/** Neighbours that one access moves in rows of `inner` elements: 16 bytes where alignment allows. */
export function rowPack(inner: number, views: readonly View[]): number {
  let width = 16 / itemSize[views[0]!.dtype];
  while (width > 1 && (inner % width || views.some((v) => v.offset % width))) width /= 2;
  return width;
}

/** One launch for calls of one kind (group.ts). */
export function launchOfMany(
  calls: readonly (Call<'map'> | Call<'reduce'>)[],
  sources: Sources,
  { multiprocessors = HOPPER.multiprocessors }: Abilities = {},
): Launch {
  const [first] = calls as [AnyCall];
  const operands = (c: Pick<AnyCall, 'reads' | 'writes'>): View[] => [...c.reads, ...c.writes];
  const launch = ({ source, blocks }: { source: string; blocks: number }, rows: number, views: View[]): Launch => {
    const name = sources.add(source, (n) => source.replaceAll('@', n));
    return { kind: 'kernel', name, grid: [blocks, rows, 1], block: 256, views };
  };
  const { reads, writes } = first;
  if (first.kernel === 'reduce')
    return launch(
      reduceKernel('@', first.attrs, reads, writes[0]!, { members: calls.length, multiprocessors }),
      calls.length,
      calls.flatMap(operands),
    );
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
  /** Whether nothing in the program writes what a view looks at. Default: never. */
  steady?: (v: View) => boolean;
  /** Shared memory that a block may have. */
  sharedBytes?: number;
  multiprocessors?: number;
  /** Compute capability x 10. */
  capability?: number;
}
/** Of an H100. */
export const HOPPER = { sharedBytes: 227 << 10, multiprocessors: 132, capability: 90 };

/** Sizes that kernels count in 32 bits. */
const counted: { [K in AnyCall['kernel']]?: readonly (keyof Call<K>['attrs'])[] } = {
  cumsum: ['axis', 'inner'],
  scatterAdd: ['axis', 'inner', 'picks'],
  norm: ['width'],
  normGrad: ['width'],
  softmax: ['width'],
  softmaxGrad: ['width'],
  crossEntropy: ['width'],
  crossEntropyGrad: ['width'],
};
function refuseLong({ kernel, attrs, label, reads }: AnyCall): void {
  const sizes = (counted[kernel] ?? []).map((name) => (attrs as unknown as Record<string, number>)[name]!);
  if (Math.max(0, ...sizes) >= 2 ** 32)
    throw new RangeError(
      `[cuda] ${label} over [${reads[0]!.shape}] has ${Math.max(...sizes)} entries along an axis, kernels count to 2^32; split it`,
    );
}

/** The launches of a call, in order; none for one without elements. */
export function launchesOf(
  call: AnyCall,
  sources: Sources,
  { library = () => false, steady = () => false, ...gpu }: Abilities = {},
): Launch[] {
  const { sharedBytes, multiprocessors, capability } = { ...HOPPER, ...gpu };
  refuseLong(call);
  const { reads, writes } = call;
  const pointer = (v: View): string => `${storageType[v.dtype]} *`;
  const typeOf = (v: Operand): string => {
    if (typeof v === 'number') return 'u64 ';
    if (typeof v === 'string') return sharedType[v];
    return isMatrix(v) ? 'const __grid_constant__ TensorMap ' : v ? pointer(v) : 'float *';
  };
  const kernel: Kernel = (views, grid, body, { block = 256, shared = 0, resident, cluster, early } = {}) => {
    if (grid.some((g) => g === 0)) return [];
    const types = views.map(typeOf);
    const p = (i: number): string => (views[i] === null ? '(float *)nullptr' : isMatrix(views[i]) ? `&p${i}` : `p${i}`);
    const code = `${early ? `${early(p)} ` : ''}begin(); ${body(p)}`;
    const name = sources.add(
      `${types.join()}|${code}`,
      (n) =>
        `extern "C" __global__ void ${cluster ? `__cluster_dims__(${cluster}, 1, 1) ` : ''}__launch_bounds__(${block}${resident ? `, ${resident}` : ''}) ${n}(${types.map((t, i) => `${t}p${i}`).join(', ')}) { ${code} }`,
    );
    return [{ kind: 'kernel', name, grid, block, shared, ...(cluster && { cluster }), views }];
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
      const made = reduceKernel('@', call.attrs, reads, writes[0]!, { arg: call.kernel === 'argreduce', capability, multiprocessors });
      if (call.attrs.outer * call.attrs.inner === 0) return [];
      const { source, blocks, ...shape } = made;
      const name = sources.add(source, (n) => source.replaceAll('@', n));
      return [{ kind: 'kernel', name, grid: [blocks, 1, 1], ...shape, views: [...reads, writes[0]!] }];
    }
    case 'gemm':
      return call.attrs.m * call.attrs.n ? [{ kind: 'gemm', call: shortLoop(call) }] : [];
    case 'gemv': {
      const made = gemvKernel('@', call, { sharedBytes, multiprocessors, capability }, steady);
      const name = sources.add(made.source, (n) => made.source.replaceAll('@', n));
      return [
        {
          kind: 'kernel',
          name,
          grid: made.grid,
          block: made.block,
          shared: made.sharedBytes,
          views: [...reads, ...writes, ...made.shared],
        },
      ];
    }
    case 'norm':
    case 'normGrad':
    case 'softmax':
    case 'softmaxGrad':
    case 'crossEntropy':
    case 'crossEntropyGrad':
      return rowKernels(call, kernel, { sharedBytes, multiprocessors });
    case 'take': {
      const { outer, axis, inner, picks } = call.attrs;
      const width = rowPack(inner, [reads[0]!, writes[0]!]);
      const packs = (outer * picks * inner) / width;
      const u = Math.max(packs * width, outer * axis * inner) < 2 ** 32 ? 'u' : 'ull'; // places in the result, and in what is read
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
      return scatterAdd(call, kernel, { sharedBytes, multiprocessors });
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
      return crossEntropyGradKernels(call).flatMap((made): Launch[] => {
        if ('kernel' in made) return [{ kind: 'gemm', call: made }];
        const { views, grid, body, ...shape } = made;
        return kernel(views, grid, body, shape);
      });
    case 'attention':
    case 'attentionGrad':
      return library(call)
        ? [{ kind: 'cudnn', call }]
        : attentionKernels(call, { sharedBytes, multiprocessors, capability }).flatMap(({ views, grid, body, ...shape }) =>
            kernel(views, grid, body, shape),
          );
    case 'decodeAttention':
    case 'appendAttention':
      return decodeKernels(call, { capability, multiprocessors, sharedBytes }).flatMap(({ views, grid, body, ...shape }) =>
        kernel(views, grid, body, shape),
      );
  }
}
