// Compiles the C kernels to WebAssembly, for machines without a C compiler: ../thimble.wasm (128-bit SIMD) and
// ../thimble-relaxed.wasm (with fused multiply-add, where the engine has relaxed SIMD). For maintainers:
//
//   npm install && npm run build
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runClang } from '@yowasp/clang';

const here = dirname(fileURLToPath(import.meta.url));
const native = join(here, '..');
const read = (folder) =>
  Object.fromEntries(readdirSync(folder).filter((name) => /\.[ch]$/.test(name)).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

const tree = { ...read(native), wasm: read(here) };
const units = [...Object.keys(tree).filter((name) => name.endsWith('.c')), 'wasm/libc.c'];

// The first byte after the static data is __heap_base; the host grows the memory from there.
const flags = ('--target=wasm32-unknown-unknown -std=c11 -O3 -nostdlib -fvisibility=hidden -ffp-contract=off -fno-math-errno ' +
  '-msimd128 -mbulk-memory -mnontrapping-fptoint -Wl,--no-entry -Wl,--export-dynamic -Wl,--export=__heap_base ' +
  '-Wl,-z,stack-size=1048576 -Wl,--max-memory=4294967296 -Wl,--strip-all').split(' ');

for (const [name, more] of [['thimble.wasm', []], ['thimble-relaxed.wasm', ['-mrelaxed-simd']]]) {
  const made = await runClang(['clang', ...flags, ...more, ...units, '-o', name], tree);
  writeFileSync(join(native, name), made[name]);
  console.log(`${name}: ${made[name].length} bytes`);
}
