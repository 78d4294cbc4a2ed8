/** The devices there are. Importing this makes them available by name. */
import { registerDevice } from '../tensor/device.ts';
import { CpuDevice } from './cpu/index.ts';
import { CudaDevice } from './cuda/index.ts';
import { gpuPresent } from './cuda/requirements.ts';
import { NullDevice } from './null/index.ts';
import { ReferenceDevice } from './reference/index.ts';

registerDevice('cpu', () => new CpuDevice(), { priority: 0 });
registerDevice('cuda', () => new CudaDevice(), { priority: 1, present: gpuPresent });
registerDevice('null', () => new NullDevice());
registerDevice('reference', () => new ReferenceDevice());

export { CpuDevice, CudaDevice, NullDevice, ReferenceDevice };
