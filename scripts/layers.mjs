// The layers of src/, as one table, and the lint that holds the imports to it.
//
// A folder imports from itself and from the folders named in its row, tests included. Nothing outside src/methods names a method: methods are
// found through the generated registry, whose imports are lazy. A method is one folder that knows no other.
import { readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { imports } from './imports.mjs';

const engine = ['bytes', 'tensor', 'device'];
const base = [...engine, 'nn', 'io'];
const services = ['data', 'train', 'decode', 'recall', 'scale'];
const below = [...base, ...services];

/** What each folder of src/ may import besides itself. @type {Record<string, string[]>} */
export const layers = {
  bytes: [],
  tensor: ['bytes'],
  device: ['bytes', 'tensor'],
  nn: engine,
  io: engine,
  data: base,
  train: [...base, 'data'],
  decode: base,
  recall: base,
  scale: base,
  bench: [...base, 'data', 'train', 'decode'],
  report: below,
  methods: below,
  tasks: [...below, 'methods'],
  cli: [...below, 'report', 'methods', 'tasks'],
  studio: [...below, 'report', 'methods', 'tasks'],
  'index.ts': [...below, 'report', 'tasks'],
  'tensor.ts': engine,
};

/** Tests run on a device wherever they stand. */
const testsAlso = ['bytes', 'tensor', 'device'];

const registry = 'methods/registry.generated.ts';
const isTest = (path) => path.endsWith('.test.ts');

/** [contract, id] when the path lies in a method's folder. @param {string} path */
function methodOf(path) {
  const [top, contract, id, file] = path.split('/');
  if (top !== 'methods' || file === undefined || contract === 'contracts' || contract === 'conformance') return null;
  return `${contract}/${id}`;
}

/** Why `from` may not import `to` (both relative to src/), with the way out; null when it may. */
export function importFault(from, to) {
  if (from === registry) return null;
  const [source, target] = [from.split('/')[0], to.split('/')[0]];
  const [mine, theirs] = [methodOf(from), methodOf(to)];
  if (theirs && theirs !== mine) {
    const wayOut = mine ? 'move what both need into a layer below' : "load it by id through 'methods/catalogue.ts'";
    return `the method ${theirs} is imported from outside its folder; ${wayOut}`;
  }
  const allowed = layers[source];
  if (!allowed) return `src/${source} is in no layer; add its row to scripts/layers.mjs`;
  if (!(target in layers)) return `src/${target} is in no layer; add its row to scripts/layers.mjs`;
  if (source === target || allowed.includes(target) || (isTest(from) && testsAlso.includes(target))) return null;
  const only = allowed.length > 0 ? `only ${allowed.join(', ')}` : 'no other layer';
  return `${source} imports ${target}, but may import ${only}; move the code down, or pass it in as an argument`;
}

/** Why a file may not stand where it is; null when it may. A method's folder holds code, its test and its bench. */
export function placeFault(path) {
  const method = methodOf(path);
  if (!method) {
    return /^methods\/[^/]+\/[^/]+$/.test(path) && !/^methods\/(contracts|conformance)\//.test(path)
      ? 'a contract folder holds one folder per method; move the file into src/methods or into its method'
      : null;
  }
  const rest = path.slice(`methods/${method}/`.length);
  if (rest.includes('/')) return 'a method is one flat folder; move the file up';
  if (rest === 'bench.json' || rest.endsWith('.ts')) return null;
  return 'a method folder holds index.ts, index.test.ts, bench.json and further .ts files; put data under tests/golden';
}

/** Files that a method folder lacks. @param {string[]} paths all files of src/ */
export function missingFiles(paths) {
  const have = new Set(paths);
  const methods = new Set(paths.map(methodOf).filter(Boolean));
  return [...methods]
    .sort()
    .flatMap((method) =>
      ['index.ts', 'index.test.ts', 'bench.json'].map((name) => `methods/${method}/${name}`).filter((path) => !have.has(path)),
    );
}

/** Why a file of examples/ may not import `specifier`; null when it may. Examples stand where users stand. */
export function exampleFault(specifier) {
  if (specifier.startsWith('./') || specifier.startsWith('node:')) return null;
  return /^thimble(\/|$)/.test(specifier)
    ? null
    : `examples import 'thimble/...', node: and one another, not '${specifier}'; import the package by its name`;
}

/**
 * All faults of a tree, as `file:line: layers: why; way out` lines.
 * @param {string} root the folder that holds src/ and examples/
 * @param {string[]} sources files relative to src/
 * @param {string[]} examples files relative to examples/
 */
export function lintLayers(root, sources, examples = []) {
  const posix = (path) => path.split(sep).join('/');
  const faults = [];
  const say = (file, line, why) => faults.push(`${file}:${line}: layers: ${why}`);
  for (const path of sources.map(posix)) {
    const fault = placeFault(path);
    if (fault) say(`src/${path}`, 1, fault);
    if (!path.endsWith('.ts')) continue;
    for (const { specifier, line } of imports(readFileSync(join(root, 'src', path), 'utf8'))) {
      if (!specifier.startsWith('.')) continue;
      const target = posix(normalize(join(dirname(path), specifier)));
      if (target.startsWith('../')) say(`src/${path}`, line, `imports '${specifier}' from outside src/; read it as data at run time`);
      else {
        const why = importFault(path, target);
        if (why) say(`src/${path}`, line, why);
      }
    }
  }
  for (const path of missingFiles(sources.map(posix))) say(`src/${path}`, 1, 'this file is missing; a method has all three');
  for (const path of examples.filter((name) => name.endsWith('.ts')))
    for (const { specifier, line } of imports(readFileSync(join(root, 'examples', path), 'utf8'))) {
      const why = exampleFault(specifier);
      if (why) say(`examples/${posix(path)}`, line, why);
    }
  return faults;
}
