import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { orphans } from './build.mjs';
import { firstStale } from './install.mjs';
import { methodFolders, registrySource } from './registry.mjs';

test('packages are stale when absent or of another version, but optional ones may be missing', () => {
  const locked = {
    '': { version: '1.0.0' },
    'node_modules/a': { version: '1.2.0' },
    'node_modules/b-win32': { version: '3.0.0', optional: true },
  };
  assert.equal(firstStale(locked, { 'node_modules/a': { version: '1.2.0' } }), null);
  assert.equal(firstStale(locked, { 'node_modules/a': { version: '1.1.0' } }), 'node_modules/a');
  assert.equal(firstStale(locked, {}), 'node_modules/a');
  assert.equal(firstStale(locked, null), 'node_modules');
});

test('compiled files without a source are orphans, other files are not', () => {
  const compiled = ['a.js', 'a.js.map', 'a.d.ts', 'gone.test.js', 'gone.test.d.ts', 'methods/catalogue.json', '.stamp'];
  assert.deepEqual(orphans(compiled, ['a.ts']), ['gone.test.js', 'gone.test.d.ts']);
});

test('the registry lists method folders and imports them lazily', (t) => {
  const methods = mkdtempSync(join(tmpdir(), 'thimble-registry-'));
  t.after(() => rmSync(methods, { recursive: true }));
  for (const path of ['codec/zeta', 'cache/alpha', 'codec/empty', 'contracts/codec', 'conformance/toy'])
    mkdirSync(join(methods, path), { recursive: true });
  for (const path of ['codec/zeta', 'cache/alpha', 'conformance/toy']) writeFileSync(join(methods, path, 'index.ts'), '');
  const listed = methodFolders(methods);
  assert.deepEqual(listed, [
    { contract: 'cache', id: 'alpha' },
    { contract: 'codec', id: 'zeta' },
  ]);
  const text = registrySource(listed);
  assert.match(text, /\{ id: 'zeta', contract: 'codec', load: async \(\) => \(await import\('\.\/codec\/zeta\/index\.ts'\)\)\.default \},/);
  assert.doesNotMatch(text, /^import (?!type)/m);
});

/** A folder with nothing but the script that compiles the kernels, and a run of it there. */
function installation(t) {
  const root = mkdtempSync(join(tmpdir(), 'thimble-native-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const name of ['scripts', 'native']) mkdirSync(join(root, name));
  const script = join(root, 'scripts', 'build-native.mjs');
  copyFileSync(fileURLToPath(new URL('build-native.mjs', import.meta.url)), script);
  return { root, run: () => spawnSync(process.execPath, [script], { encoding: 'utf8', env: { ...process.env, XDG_CACHE_HOME: root } }) };
}

test('a library that was cut off is not loaded but compiled anew', (t) => {
  const { root, run } = installation(t);
  writeFileSync(join(root, 'native', 'one.c'), 'int one(void) { return 1; }');
  const path = /compiled (\S+)/.exec(run().stdout)?.[1];
  if (!path) return t.skip('no C compiler');
  const library = readFileSync(path);
  assert.match(run().stdout, /is up to date/);
  truncateSync(path, library.length >> 1);
  assert.match(run().stdout, /compiled/);
  assert.deepEqual(readFileSync(path), library);
  assert.match(run().stdout, /is up to date/);
});

test('where the kernels in C are missing, that is said and nothing is linked', (t) => {
  const { root, run } = installation(t);
  const { status, stdout } = run();
  assert.equal(status, 0);
  assert.match(stdout, /\*\.c is missing from this installation; Thimble will run its WebAssembly build/);
  assert.deepEqual(readdirSync(root).sort(), ['native', 'scripts']);
});
