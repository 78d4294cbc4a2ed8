// Runs the tests of src/ and scripts/ and the examples: `npm test`, or `npm test -- nn/adam layers` for files whose path holds a word.
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { build } from './build.mjs';
import { ensureNative } from './build-native.mjs';
import { root } from './install.mjs';
import { chosenFiles, runTests } from './run-tests.mjs';

build();
ensureNative({ quiet: true });
const chosen = chosenFiles(process.argv.slice(2));
process.chdir(root);
process.env.THIMBLE_DEVICE ??= 'cpu'; // `npm run test:cuda` is for GPUs
runTests(chosen, Math.max(2, availableParallelism() - 1));
