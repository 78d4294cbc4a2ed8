/**
 * Kernels that are launched before the one ahead of them has ended (programmatic dependent launch, cuda/prelude.cuh). Their blocks take what room
 * it leaves first, not a share of each multiprocessor. So either they fill the GPU, or they are at most one for each multiprocessor and keep each
 * other away, by the shared memory that they ask for: else some multiprocessors would hold many of them and the next ones none.
 */
import type { Program } from '../../tensor/lower/program.ts';
import type { Launch } from './calls.ts';
import { allowShared, type Driver, type GpuInfo } from './driver.ts';

type KernelLaunch = Extract<Launch, { kind: 'kernel' }>;

// CUfunction_attribute
const STATIC_SHARED = 1;
const PREFERRED_SHARED_PERCENT = 9;

/** Bytes of shared memory that each block takes beside its own, and in what steps it is given. */
const RESERVED = 1024;
const UNIT = 128;
/** Of the blocks that a GPU has room for, those that leave no multiprocessor much less than the others. */
const FULL = 0.95;

/** Blocks of 256 threads that a multiprocessor holds at most. */
const MOST_RESIDENT = 8;
/** Bytes of an operand that are asked for before a kernel's turn: about what memory delivers between the end of one and the first loads of the next. */
const ASKED = 2 << 20;

/**
 * Code that asks, before a kernel's turn, for what its blocks read first: of `rows` rows of each operand, block after block begins `step` rows
 * further and reads `first` at once. @param most bytes of each operand.
 */
export function askFor(
  operands: readonly { pointer: string; rowBytes: number }[],
  { rows, step, first = step, most = ASKED }: { rows: number; step: number; first?: number; most?: number },
  blocks: number,
  multiprocessors: number,
): string {
  const early = Math.min(blocks, multiprocessors * MOST_RESIDENT);
  return operands
    .map(({ pointer, rowBytes }) => {
      const bytes = Math.floor(Math.min(most / early, Math.min(first, rows) * rowBytes) / 16) * 16;
      return bytes ? `ask_for_first(${pointer}, ${bytes}u, ${step * rowBytes}ull, ${rows * rowBytes}ull, ${early}u);` : '';
    })
    .join(' ');
}

/** A launch as it may be early, or undefined: what is ahead of it ends first. */
export function earlyRule(
  d: Driver,
  { capability, multiprocessors, sharedBytes }: GpuInfo,
  { calls }: Program,
  first: Launch | undefined,
): (launch: KernelLaunch, fn: number) => KernelLaunch | undefined {
  if (capability < 90) return () => undefined;
  // The products of a decoder read weights before their turn: what no kernel of the program writes must be there when its first one starts. Their
  // blocks are laid out for that.
  if (calls.some((c) => c.kernel === 'gemv'))
    return (l, fn) => {
      if (l === first) return undefined;
      // kernels that want a processor's memory divided between L1 and shared memory in other ways cannot be on it together
      d.cuFuncSetAttribute(fn, PREFERRED_SHARED_PERCENT, 100);
      return l;
    };
  return (l, fn) => {
    if (l.cluster) return undefined; // blocks that need room beside each other
    const { block, shared = 0 } = l;
    const blocks = l.grid[0] * l.grid[1] * l.grid[2];
    if (blocks <= multiprocessors) {
      const half = Math.ceil((sharedBytes + RESERVED) / 2) - RESERVED - d.get('cuFuncGetAttribute', STATIC_SHARED, fn);
      return { ...l, shared: Math.max(shared, half + UNIT) };
    }
    allowShared(d, fn, shared);
    const room = multiprocessors * d.get('cuOccupancyMaxActiveBlocksPerMultiprocessor', fn, block, shared);
    return blocks >= FULL * room ? l : undefined;
  };
}
