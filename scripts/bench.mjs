// `npm run bench -- engine ...` measures the engine against its peers, `-- cuda ...` the GPU; `npm run bench -- <method id> ...` is `thimble bench`.
import { argv } from 'node:process';
import { build } from './build.mjs';
import { ensureNative } from './build-native.mjs';
import { runNode } from './run-node.mjs';

const [what, ...rest] = argv.slice(2);
build();
ensureNative({ quiet: true });
await runNode(what === 'engine' || what === 'cuda' ? [`dist/bench/${what}.js`, ...rest] : ['dist/cli/main.js', 'bench', ...argv.slice(2)]);
