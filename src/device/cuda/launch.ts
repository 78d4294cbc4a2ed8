/** Launches made ready: all but the addresses is laid out once. */
import koffi from 'koffi';
import { itemSize } from '../../tensor/dtype.ts';
import type { AnyCall, Call, Program, View } from '../../tensor/lower/program.ts';
import type { Launch } from './calls.ts';
import type { Product } from './cublaslt.ts';
import type { AttentionLibrary } from './cudnn.ts';
import { allowShared, CudaError, type Driver } from './driver.ts';
import type { Shared } from './shared.ts';
import { describe, isMatrix, MAP_BYTES, type Matrix } from './tensor-map.ts';

const LARGE_CLUSTERS = 14; // CUfunction_attribute
/** Blocks of a cluster on any card that has clusters; a kernel with more asks for them. */
const MOST_TOGETHER = 8;

/** What a kernel is given: an address, the description of a matrix, a null pointer, or a whole number. */
export type Operand = View | Matrix | Shared | null | number;
/** Where the operands of a call lie this time; a matrix where its view does. */
export type Address = (operand: View | Shared | null | number) => number;
/** What of the program an operand is. */
export const viewOf = (operand: Operand): View | null => (isMatrix(operand) ? operand.view : typeof operand === 'object' ? operand : null);

export interface Step {
  readonly operands: readonly Operand[];
  /** Puts it on the stream. */
  submit(at: Address): void;
  /** Gives a captured launch other addresses. Absent: what was captured holds its addresses for good. */
  patch?(graph: number, node: number, at: Address): void;
}

/** The parameters of one kernel: its operands' values, and the list of pointers to them that the driver wants. */
class Parameters {
  readonly #driver: Driver;
  readonly #operands: readonly Operand[];
  readonly #values: BigUint64Array;
  readonly #words: Uint32Array;
  /** Where the values begin. */
  readonly #places: number[] = [];
  readonly #pointers: BigUint64Array;
  /** Addresses that matrices were described at. */
  readonly #described = new Map<number, number>();
  readonly address: bigint;
  constructor(driver: Driver, operands: readonly Operand[]) {
    this.#driver = driver;
    this.#operands = operands;
    let size = 0;
    for (const operand of operands) {
      this.#places.push(size);
      size += isMatrix(operand) ? MAP_BYTES / 8 : 1;
    }
    this.#values = new BigUint64Array(Math.max(16, size)); // large enough to lie outside the collected heap, where nothing moves
    this.#words = new Uint32Array(this.#values.buffer);
    const base = koffi.address(this.#values);
    this.#pointers = BigUint64Array.from({ length: Math.max(16, operands.length) }, (_, i) => base + BigInt(8 * (this.#places[i] ?? 0)));
    this.address = koffi.address(this.#pointers);
  }
  fill(at: Address): void {
    this.#operands.forEach((operand, i) => {
      const place = this.#places[i]!;
      if (isMatrix(operand)) {
        const address = at(operand.view);
        if (this.#described.get(i) === address) return;
        describe(this.#driver, operand, address, this.#values.subarray(place));
        this.#described.set(i, address);
      } else {
        const value = at(operand);
        this.#words[2 * place] = value;
        this.#words[2 * place + 1] = Math.floor(value / 2 ** 32);
      }
    });
  }
}

/** What a call is to a reader of an error: its ops and the types of its results. */
export const nameOf = ({ label, writes }: AnyCall): string =>
  `${label} -> ${writes.map((v) => `${v.dtype}[${v.shape.join(', ')}]`).join(', ')}`;

const PROGRAMMATIC_STREAM_SERIALIZATION = 6; // CUlaunchAttributeID
/** CUlaunchConfig of a kernel that may start while the one before it still runs. */
function earlyLaunch(grid: readonly number[], block: number, shared: number, stream: number): Uint8Array {
  const memory = new ArrayBuffer(256);
  const configuration = new Uint8Array(memory);
  new Int32Array(memory).set([PROGRAMMATIC_STREAM_SERIALIZATION, 0, 1], 32);
  new Uint32Array(memory).set([...grid, block, 1, 1, shared]);
  new BigUint64Array(memory).set([BigInt(stream), koffi.address(configuration) + 128n, 1n], 4);
  return configuration;
}

/** @param early whether it may become resident before the kernel ahead of it has ended, and waits for that one itself. */
export function kernelStep(
  d: Driver,
  stream: number,
  call: AnyCall,
  launch: Extract<Launch, { kind: 'kernel' }>,
  fn: number,
  early: boolean,
): Step {
  const { views, grid, block, shared = 0, cluster = 1 } = launch;
  allowShared(d, fn, shared);
  if (cluster > MOST_TOGETHER) d.cuFuncSetAttribute(fn, LARGE_CLUSTERS, 1);
  const parameters = new Parameters(d, views);
  // CUDA_KERNEL_NODE_PARAMS: function, grid, block, shared bytes, parameters, extra
  const node = new ArrayBuffer(128);
  new BigUint64Array(node).set([BigInt(fn)], 0);
  new Uint32Array(node).set([...grid, block, 1, 1, shared], 2);
  new BigUint64Array(node).set([parameters.address], 5);
  const nodeParameters = new Uint8Array(node);
  const configuration = early ? earlyLaunch(grid, block, shared, stream) : undefined;
  return {
    operands: views,
    submit(at) {
      parameters.fill(at);
      try {
        if (configuration) d.cuLaunchKernelEx(configuration, fn, parameters.address, 0);
        else d.cuLaunchKernel(fn, grid[0], grid[1], grid[2], block, 1, 1, shared, stream, parameters.address, 0);
      } catch (error) {
        throw error instanceof CudaError ? new CudaError(error.code, `the launch of ${nameOf(call)}`) : error;
      }
    },
    patch(graph, graphNode, at) {
      parameters.fill(at);
      d.cuGraphExecKernelNodeSetParams(graph, graphNode, nodeParameters);
    },
  };
}

type Gemm = Extract<Launch, { kind: 'gemm' }>;

/** Bytes that the addresses of a product's operands are multiples of: what divides each of their parts; allocations are of 256. */
export function alignmentsOf(program: Program, { call }: Gemm): number[] {
  return [...call.reads, ...call.writes].map((v) => {
    const { external, offset } = program.buffers[v.buffer]!;
    const parts = [
      external < 0 ? offset : 0,
      v.offset * itemSize[v.dtype],
      call.attrs.batch[0] > 1 ? v.strides[0]! * itemSize[v.dtype] : 0,
    ];
    return parts.reduce((bytes, part) => Math.min(bytes, part % 256 ? (part % 256) & -(part % 256) : bytes), 256);
  });
}

/** The same product with its batch axes in the order in which the outer one, that is looped over, is the shorter. */
export function shortLoop(call: Call<'gemm'>): Call<'gemm'> {
  const [outer, inner] = call.attrs.batch;
  if (outer <= inner) return call;
  const swap = <T>([a, b, ...rest]: readonly T[]): T[] => [b!, a!, ...rest];
  const swapped = (v: View): View => ({ ...v, shape: swap(v.shape), strides: swap(v.strides) });
  return { ...call, attrs: { ...call.attrs, batch: [inner, outer] }, reads: call.reads.map(swapped), writes: call.writes.map(swapped) };
}

/** A product, once for each index of the outer batch axis. */
export function gemmStep(stream: number, { call }: Gemm, product: Product): Step {
  const operands = [...call.reads, ...call.writes];
  const steps = operands.map((v) => v.strides[0]! * itemSize[v.dtype]);
  return {
    operands,
    submit(at) {
      for (let i = 0; i < call.attrs.batch[0]; i++)
        product.run(
          operands.map((v, o) => at(v) + i * steps[o]!),
          stream,
        );
    },
  };
}

/** Attention by cuDNN. */
export const cudnnStep = ({ call }: Extract<Launch, { kind: 'cudnn' }>, library: AttentionLibrary): Step => ({
  operands: [...call.reads, ...call.writes],
  submit: library.runner(call),
});
