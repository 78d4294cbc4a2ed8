// `npm run demo -- ...`: builds what is stale, then `thimble demo ...`.
import { argv } from 'node:process';
import { build } from './build.mjs';
import { ensureNative } from './build-native.mjs';
import { runNode } from './run-node.mjs';

build();
ensureNative({ quiet: true });
await runNode(['dist/cli/main.js', 'demo', ...argv.slice(2)]);
