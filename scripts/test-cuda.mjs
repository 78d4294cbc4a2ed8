// `npm run test:cuda`: the device suite and the engine's train steps on the GPU. Where there is none it says so and exits 0; what needs
// no GPU (the kernels compile) is tested wherever NVRTC is found.
import { build } from './build.mjs';
import { runNode } from './run-node.mjs';

build();
await runNode(['--test', 'dist/device/cuda/index.test.js', 'dist/device/cuda/nvrtc.test.js']);
