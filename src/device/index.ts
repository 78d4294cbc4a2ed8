/** The devices there are. Importing this makes them available by name. */
import { registerDevice } from '../tensor/device.ts';
import { CpuDevice } from './cpu/index.ts';
import { CudaDevice } from './cuda/index.ts';
import { NullDevice } from './null/index.ts';
import { ReferenceDevice } from './reference/index.ts';

registerDevice('cpu', () => new CpuDevice());
registerDevice('cuda', () => new CudaDevice());
registerDevice('null', () => new NullDevice());
registerDevice('reference', () => new ReferenceDevice());

export { CpuDevice, CudaDevice, NullDevice, ReferenceDevice };
