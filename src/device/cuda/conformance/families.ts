/**
 * The device suite on the first NVIDIA GPU. Most of its time goes into compiling kernels, so
 * families of many or large ones have a file, and with it a process, of their own.
 */
import { test } from 'node:test';
import { type Family, families } from '../../conformance/cases/index.ts';
import { testDevice } from '../../conformance/suite.ts';
import { CudaDevice } from '../index.ts';

/** The families that a file of this folder is named after; index.test.ts has all others. */
export const apart = ['attention', 'classifier', 'contractions', 'fewRows', 'wide'] as const satisfies Family[];

/** Tests on the GPU; skipped, with the reason, where there is none. */
export function withGpu(what: string, tests: (device: CudaDevice) => void): void {
  let device: CudaDevice;
  try {
    device = new CudaDevice();
  } catch (error) {
    test(`cuda: ${what}`, { skip: (error as Error).message }, () => {});
    return;
  }
  tests(device);
}

export const testFamilies = (...names: Family[]): void =>
  withGpu(names.join(', '), (device) => {
    for (const name of names) testDevice(device, 5e-5, families[name]);
  });
