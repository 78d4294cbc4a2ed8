/** The devices there are. Importing this makes them available by name. */
import { type Device, defaultDevice, device, registerDevice } from '../tensor/device.ts';
import { CpuDevice } from './cpu/index.ts';
import { CudaDevice } from './cuda/index.ts';
import { gpuPresent } from './cuda/requirements.ts';
import { rulesOn } from './cuda/rules.ts';
import { NullDevice } from './null/index.ts';
import { ReferenceDevice } from './reference/index.ts';

registerDevice('cpu', () => new CpuDevice(), { priority: 0 });
registerDevice('cuda', () => new CudaDevice(), { priority: 1, present: gpuPresent });
registerDevice('null', () => new NullDevice());
registerDevice('reference', () => new ReferenceDevice());

export { CpuDevice, CudaDevice, NullDevice, ReferenceDevice };

/**
 * A null device that plans as the device of that name does (default: the default device), with what it stands for where that is here. A GPU that is not
 * here is taken for an H100 without cuDNN.
 */
export function planFor(name?: string): { device: NullDevice; here?: Device } {
  if (name === 'cuda' && !gpuPresent()) return { device: new NullDevice(rulesOn()) };
  const here = name === undefined ? defaultDevice() : device(name);
  return { device: new NullDevice(here), here };
}
