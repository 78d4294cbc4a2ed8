/** What a GPU, its driver and the libraries must be for this device; each lack with its way out. */
import { existsSync } from 'node:fs';
import { printBytes } from '../../bytes/index.ts';

/** Whether the system shows an NVIDIA GPU: the files of the driver's kernel module, or of WSL. Opens nothing. */
export function gpuPresent(): boolean {
  if (process.env.CUDA_VISIBLE_DEVICES === '' || process.env.CUDA_VISIBLE_DEVICES === '-1') return false;
  return process.env.THIMBLE_LIBCUDA !== undefined || existsSync('/dev/nvidiactl') || existsSync('/dev/dxg');
}

/** CUDA's version numbers, 1000 * major + 10 * minor. */
const version = (n: number): string => `${Math.floor(n / 1000)}.${Math.floor((n % 1000) / 10)}`;
const capability = (c: number): string => `${Math.floor(c / 10)}.${c % 10}`;

export const LEAST_CAPABILITY = 70;
/** Contexts, the workspace of products and a small model; less is a card that others have filled. */
const LEAST_FREE = 256 << 20;

export interface Found {
  name: string;
  /** Compute capability x 10. */
  capability: number;
  /** The CUDA version that the driver speaks, 1000 * major + 10 * minor. */
  driver: number;
  freeBytes: number;
  totalBytes: number;
  /** The version of NVRTC, in the same form, and the capabilities that it makes code for (x 10). */
  nvrtc: number;
  architectures: readonly number[];
}

/** Why this cannot run our kernels, with the way out; undefined if it can. */
export function unmet(f: Found): string | undefined {
  if (f.capability < LEAST_CAPABILITY)
    return `${f.name} has compute capability ${capability(f.capability)}, at least ${capability(LEAST_CAPABILITY)} is needed; use THIMBLE_DEVICE=cpu or another card (THIMBLE_GPU)`;
  if (Math.floor(f.nvrtc / 1000) > Math.floor(f.driver / 1000))
    return `NVRTC ${version(f.nvrtc)} makes code that the driver, of CUDA ${version(f.driver)}, cannot load; update the driver, or pip install nvidia-cuda-nvrtc-cu${Math.floor(f.driver / 1000)} nvidia-cublas-cu${Math.floor(f.driver / 1000)}`;
  if (f.architectures.length && !f.architectures.includes(f.capability)) {
    const [least, most] = [Math.min(...f.architectures), Math.max(...f.architectures)];
    return `NVRTC ${version(f.nvrtc)} makes code for compute capabilities ${capability(least)} to ${capability(most)} and ${f.name} has ${capability(f.capability)}; install ${f.capability > most ? 'a newer' : 'an older'} one and set THIMBLE_LIBNVRTC to its path`;
  }
  if (f.freeBytes < LEAST_FREE)
    return `${f.name} has ${printBytes(f.freeBytes)} of ${printBytes(f.totalBytes)} free, at least ${printBytes(LEAST_FREE)} is needed; end what else uses it, or choose another card (THIMBLE_GPU)`;
  return undefined;
}
