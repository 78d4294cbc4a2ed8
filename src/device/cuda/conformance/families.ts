/**
 * The device suite on the first NVIDIA GPU; skipped with the reason where there is none. Most of its time goes into compiling kernels, so
 * families of many or large ones have a file, and with it a process, of their own.
 */
import { test } from 'node:test';
import { type Family, families } from '../../conformance/cases/index.ts';
import { testDevice } from '../../conformance/suite.ts';
import { CudaDevice } from '../index.ts';

/** The families that a file of this folder is named after; index.test.ts has all others. */
export const apart = ['attention', 'classifier', 'contractions', 'fewRows', 'wide'] as const satisfies Family[];

export function testFamilies(...names: Family[]): void {
  let device: CudaDevice;
  try {
    device = new CudaDevice();
  } catch (error) {
    test(`cuda: ${names.join(', ')}`, { skip: (error as Error).message }, () => {});
    return;
  }
  for (const name of names) testDevice(device, 5e-5, families[name]);
}
