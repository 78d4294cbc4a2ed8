// The test files of the package, and how they are run: side by side, each printed as it ends, with a summary; the exit code says whether all passed.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';
import { filesUnder, orphans, tsc } from './build.mjs';
import { fail, root } from './install.mjs';

/** A whole file may take this long before it counts as hung. */
const fileTimeoutMs = 300_000;

/** Compiles examples/ against the built package, which they import by its name, as users do. @returns {string[]} */
function compiledExamples() {
  const sources = filesUnder(join(root, 'examples')).filter((path) => path.endsWith('.ts'));
  const out = join(root, 'build', 'examples');
  if (sources.length > 0) tsc('-p', 'examples/tsconfig.json');
  for (const path of orphans(filesUnder(out), sources)) rmSync(join(out, path));
  return sources.map((path) => join('build', 'examples', path.replace(/\.ts$/, '.js')));
}

/** Every file that is a test: an example is one, because it asserts its own result. @returns {string[]} */
function testFiles() {
  const tests = (folder, ending) =>
    filesUnder(join(root, folder))
      .filter((path) => path.endsWith(ending))
      .map((path) => join(folder, path));
  return [...tests('scripts', '.test.mjs'), ...tests('dist', '.test.js'), ...compiledExamples()];
}

/**
 * Those whose path holds a word, from the package's root.
 * @param {string[]} words none: all
 * @param {(path: string) => boolean} among
 */
export function chosenFiles(words, among = () => true) {
  const chosen = testFiles()
    .filter(among)
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)));
  if (chosen.length === 0) fail(`no test file has ${words.map((word) => `'${word}'`).join(' or ')} in its path`);
  for (const path of chosen) if (!existsSync(join(root, path))) fail(`${path} was not compiled`);
  return chosen;
}

/** @param {string[]} files from the package's root @param {number} concurrency processes at a time */
export function runTests(files, concurrency) {
  const started = performance.now();
  const stream = run({ files: files.map((path) => join(root, path)), concurrency, timeout: fileTimeoutMs });
  const counts = { pass: 0, fail: 0, cancelled: 0, skipped: 0, todo: 0 };
  stream.on('test:diagnostic', ({ message }) => {
    const [, name, number] = /^(\w+) (\d+)$/.exec(message) ?? [];
    if (name && name in counts) counts[name] = Number(number);
  });
  stream.on('test:fail', () => {
    process.exitCode = 1;
  });
  stream.compose(new Spec()).pipe(process.stdout);
  process.on('exit', () => {
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const failed = counts.fail + counts.cancelled;
    if (failed > 0) process.exitCode = 1;
    console.log(`${counts.pass} passed, ${failed} failed, ${counts.skipped + counts.todo} skipped (${files.length} files, ${seconds} s)`);
  });
}
