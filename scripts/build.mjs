// Compiles src/ into dist/: packages, method registry, tsc, the files beside the code, the catalogue. Does nothing when nothing changed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { ensureInstalled, fail, root } from './install.mjs';
import { generateRegistry } from './registry.mjs';

/** All files under a folder, as paths relative to it, sorted. @returns {string[]} */
export function filesUnder(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** Runs TypeScript on a project; ends the process where it complains. */
export function tsc(...args) {
  const { status } = spawnSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), ...args], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) fail('the types do not check (see above)');
}

/** Which compiled files have lost their source. @param {string[]} compiled @param {string[]} sources */
export function orphans(compiled, sources) {
  const stems = new Set(sources.map((path) => path.replace(/\.ts$/, '')));
  return compiled.filter((path) => /\.(js|js\.map|d\.ts)$/.test(path) && !stems.has(path.replace(/\.(js\.map|d\.ts|js)$/, '')));
}

/** What a build depends on, as one hash: paths, sizes and times of the sources. */
function fingerprint(sources) {
  const hash = createHash('sha256').update(process.version);
  for (const path of ['tsconfig.json', 'package-lock.json', ...sources.map((name) => join('src', name))]) {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Brings dist/ up to date. */
export function build() {
  ensureInstalled();
  generateRegistry();
  const sources = filesUnder(join(root, 'src'));
  const dist = join(root, 'dist');
  const stamp = join(dist, '.stamp');
  const now = fingerprint(sources);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;

  try {
    rmSync(stamp, { force: true });
  } catch (error) {
    fail(`dist is out of date and cannot be written (${error.message}); build in a folder that can be`);
  }
  tsc('-p', 'tsconfig.json');
  for (const path of orphans(filesUnder(dist), sources)) rmSync(join(dist, path));
  for (const path of sources.filter((name) => !name.endsWith('.ts'))) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    copyFileSync(join(root, 'src', path), join(dist, path));
  }
  // The catalogue is written by the methods themselves, once, so that listing them loads none of them.
  const { status } = spawnSync(process.execPath, [join(dist, 'methods', 'write-catalogue.js')], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) fail('a method does not load (see above)');
  writeFileSync(stamp, now);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) build();
