// `npm run lint`: biome, then the layers of src/. `npm run lint -- --fix` writes what biome can repair.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { filesUnder } from './build.mjs';
import { ensureInstalled, root } from './install.mjs';
import { lintLayers } from './layers.mjs';

ensureInstalled();
const checked = ['src', 'scripts', 'examples', 'tests', 'bench'].filter((folder) => existsSync(join(root, folder)));
const biome = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome'),
    'check',
    '--no-errors-on-unmatched',
    ...process.argv.slice(2),
    ...checked,
  ],
  { cwd: root, stdio: 'inherit' },
);

const faults = lintLayers(root, filesUnder(join(root, 'src')), filesUnder(join(root, 'examples')));
for (const fault of faults) console.error(fault);
console.log(
  `layers: ${faults.length === 0 ? 'clean' : `${faults.length} fault${faults.length === 1 ? '' : 's'}`}; biome: ${biome.status === 0 ? 'clean' : 'faults (above)'}`,
);
process.exitCode = biome.status === 0 && faults.length === 0 ? 0 : 1;
