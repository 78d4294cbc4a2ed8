// `npm run bench -- engine ...` measures the engine against its peers, `-- cuda ...` the GPU, `-- data` the preparation of batches; `npm run bench -- <method id> ...` is `thimble bench`.
import { argv } from 'node:process';
import { build } from './build.mjs';
import { ensureNative } from './build-native.mjs';
import { runNode } from './run-node.mjs';

const [what, ...rest] = argv.slice(2);
build();
ensureNative({ quiet: true });
await runNode(
  ['engine', 'cuda', 'data'].includes(what) ? [`dist/bench/${what}.js`, ...rest] : ['dist/cli/main.js', 'bench', ...argv.slice(2)],
);
