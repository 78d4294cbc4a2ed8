// `npm run test:cuda`: on a GPU, the device suite, and the tests and examples of everything that computes, with the GPU as their device; with words,
// those files whose path holds one. Where there is no GPU it says so and exits 0; what needs none (the kernels compile, the graphs replay) is tested
// there too.
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { build } from './build.mjs';
import { ensureNative } from './build-native.mjs';
import { root } from './install.mjs';
import { chosenFiles, runTests } from './run-tests.mjs';

/** Processes that share the card: what they mostly wait for is the compiler, which has a core each. */
const most = 12;

build();
ensureNative({ quiet: true });
process.chdir(root);
const { gpuPresent } = await import('../dist/device/cuda/requirements.js');
const present = gpuPresent();
if (present) process.env.THIMBLE_DEVICE = 'cuda';
else console.log('no NVIDIA GPU is here: testing what needs none');
const computing = present
  ? /^(dist.(bench|cli|data|decode|device.cuda|methods|nn|tasks|tensor|train)|build.examples)\b/
  : /^dist.device.cuda\b/;
const files = chosenFiles(process.argv.slice(2), (path) => computing.test(path));
runTests(files, Math.max(2, Math.min(most, availableParallelism() - 1)));
