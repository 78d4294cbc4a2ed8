// What thimble.wasm is made from: the flags, and one hash of them and of all C sources.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

// The first byte after the static data is __heap_base; the host grows the memory from there. Loop strength reduction loses that offsets do
// not wrap, and then V8 computes each address in a register of its own instead of folding it into the load.
export const flags = ('--target=wasm32-unknown-unknown -std=c11 -O3 -nostdlib -fvisibility=hidden -ffp-contract=off -fno-math-errno ' +
  '-msimd128 -mbulk-memory -mnontrapping-fptoint -mllvm -disable-lsr -Wl,--no-entry -Wl,--export-dynamic -Wl,--export=__heap_base ' +
  '-Wl,-z,stack-size=1048576 -Wl,--max-memory=4294967296 -Wl,--strip-all').split(' ');

// Every thread has an instance over the memory that the host makes, and sets its own stack pointer.
export const threadFlags = '-matomics -Wl,--shared-memory -Wl,--import-memory -Wl,--initial-memory=16777216 -Wl,--export=__stack_pointer'.split(' ');

/** SHA-256 of the flags, the compiler's version and every C file, as hex. */
export function sourceHash() {
  const hash = createHash('sha256').update([...flags, ...threadFlags].join(' ')).update(JSON.parse(readFileSync(join(here, 'package.json'), 'utf8')).devDependencies['@yowasp/clang']);
  for (const folder of [join(here, '..'), here])
    for (const name of readdirSync(folder).filter((n) => /\.[ch]$/.test(n)).sort()) hash.update(`\0${name}\0`).update(readFileSync(join(folder, name)));
  return hash.digest('hex');
}
