// `npm run test:cuda`: on a GPU, the device suite, and the tests of everything that computes, with the GPU as their device. Where there is
// none it says so and exits 0; what needs no GPU (the kernels compile, the graphs replay) is tested there too.
import { join } from 'node:path';
import process from 'node:process';
import { build, filesUnder } from './build.mjs';
import { root } from './install.mjs';
import { runNode } from './run-node.mjs';

build();
process.chdir(root);
const { gpuPresent } = await import('../dist/device/cuda/requirements.js');
const present = gpuPresent();
if (!present) console.log('no NVIDIA GPU is here: testing what needs none');
const folders = present ? ['device/cuda', 'tensor', 'nn', 'train', 'methods'] : ['device/cuda'];
const files = folders.flatMap((folder) => filesUnder(join(root, 'dist', folder)).map((file) => join('dist', folder, file)));
if (present) process.env.THIMBLE_DEVICE = 'cuda';
await runNode(['--test', ...files.filter((file) => file.endsWith('.test.js'))]);
