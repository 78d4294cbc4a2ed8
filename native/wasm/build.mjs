// Compiles the C kernels to WebAssembly, for machines without a C compiler. ../thimble.wasm is the build for one thread, with 128-bit SIMD;
// custom sections in it hold `thimble.threads`, which works in a memory that threads share, and `thimble.relaxed`, which has fused
// multiply-add (relaxed SIMD) besides. `thimble.sources` says what all were made from (sources.mjs), so that a test can tell when the file
// is stale without a compiler. The same sources give the same bytes.
//
//   npm install && npm run build          writes ../thimble.wasm
//   npm run check                         compiles and compares with the committed file
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runClang } from '@yowasp/clang';
import { flags, sourceHash, threadFlags } from './sources.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const native = join(here, '..');
const read = (folder) =>
  Object.fromEntries(readdirSync(folder).filter((name) => /\.[ch]$/.test(name)).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

const tree = { ...read(native), wasm: read(here) };
const units = [...Object.keys(tree).filter((name) => name.endsWith('.c')), 'wasm/libc.c'];

const compile = async (more) => (await runClang(['clang', ...flags, ...more, ...units, '-o', 'out.wasm'], tree))['out.wasm'];

/** An unsigned number in the LEB128 form of WebAssembly. */
function leb(n) {
  const bytes = [];
  do bytes.push((n & 127) | (n > 127 ? 128 : 0));
  while ((n >>>= 7));
  return bytes;
}
const section = (name, content) => {
  const body = [...leb(name.length), ...Buffer.from(name)];
  return Buffer.concat([Buffer.from([0, ...leb(body.length + content.length), ...body]), content]);
};

const made = Buffer.concat([
  await compile([]),
  section('thimble.threads', await compile(threadFlags)),
  section('thimble.relaxed', await compile([...threadFlags, '-mrelaxed-simd'])),
  section('thimble.sources', Buffer.from(sourceHash())),
]);
const path = join(native, 'thimble.wasm');
if (process.argv.includes('--check')) {
  const same = made.equals(readFileSync(path));
  console.log(same ? 'thimble.wasm is what the sources give' : 'thimble.wasm differs from what the sources give; run npm run build');
  process.exitCode = same ? 0 : 1;
} else {
  writeFileSync(path, made);
  console.log(`thimble.wasm: ${made.length} bytes`);
}
