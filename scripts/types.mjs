// `npm run types`: checks the types of src/ (with the method registry that the build would write) and, once it is built, of examples/.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { filesUnder, tsc } from './build.mjs';
import { ensureInstalled, root } from './install.mjs';
import { generateRegistry } from './registry.mjs';

ensureInstalled();
generateRegistry();
tsc('-p', 'tsconfig.json', '--noEmit');
const examples = filesUnder(join(root, 'examples')).some((path) => path.endsWith('.ts'));
const built = existsSync(join(root, 'dist', '.stamp'));
if (examples && built) tsc('-p', 'examples/tsconfig.json', '--noEmit');
console.log(`types: src checks${!examples ? '' : built ? ', examples check' : '; examples were not checked (npm run build first)'}`);
