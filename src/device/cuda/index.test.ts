/** The device suite on the first NVIDIA GPU; skipped with the reason where there is none. */
import { test } from 'node:test';
import { testDevice } from '../conformance/suite.ts';
import { CudaDevice } from './index.ts';

let device: CudaDevice | undefined;
let why = '';
try {
  device = new CudaDevice();
} catch (error) {
  why = (error as Error).message;
}
if (device) testDevice(device, 5e-5);
else test('cuda device', { skip: why }, () => {});
