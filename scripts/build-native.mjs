// Compiles native/*.c with the machine's own C compiler, for its instruction set, into one shared library:
// thimble-<isa>-<hash of sources and flags>-<hash of its own bytes>.so: one that is damaged is not taken, and compiled anew.
// Without a compiler there is no library, and Thimble runs its WebAssembly build.
//
//   node scripts/build-native.mjs [--quiet]     compiles if needed, prints one line, exits 0 with and without a compiler
//
// THIMBLE_ISA asks for a lower level than the machine has: x64-v3 (AVX2), x64-v2 (SSE4.2).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { arch, argv, env, platform } from 'node:process';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sources = join(root, 'native');

// Contraction gives fused multiply-adds; sqrt sets no errno; nobody asks whether an operation trapped. No -ffast-math: NaN,
// infinities and the order of sums mean what they say.
const flags = '-std=c11 -O3 -fPIC -pthread -fvisibility=hidden -ffp-contract=fast -fno-math-errno -fno-trapping-math'.split(' ');
// The pool's threads live as long as the process: the library must not be unmapped under them when Node unloads it at its end.
if (platform === 'linux') flags.push('-Wl,-z,nodelete');

// From the best level down: the CPU features that it needs, by the names of /proc/cpuinfo, each the compiler's -m flag.
const levels = {
  'x64-v4': 'avx2 fma f16c bmi bmi2 avx512f avx512bw avx512cd avx512dq avx512vl'.split(' '),
  'x64-v3': 'avx2 fma f16c bmi bmi2'.split(' '),
  'x64-v2': 'sse4.2 popcnt'.split(' '),
};

/** What the CPU and the system offer, in the compiler's names. */
function cpuFeatures() {
  const text =
    platform === 'linux'
      ? (/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '')
      : (spawnSync('sysctl', ['-n', 'machdep.cpu.features', 'machdep.cpu.leaf7_features'], { encoding: 'utf8' }).stdout ?? '');
  return new Set(
    text
      .toLowerCase()
      .split(/\s+/)
      .map((name) => ({ sse4_2: 'sse4.2', bmi1: 'bmi' })[name] ?? name),
  );
}

/** The instruction set to compile for and its flags; null where there is none for this machine. */
function target() {
  if (platform === 'win32') return null;
  if (arch === 'arm64') return { isa: 'arm64', flags };
  if (arch !== 'x64') return null;
  const has = cpuFeatures();
  const able = Object.keys(levels).filter((level) => levels[level].every((feature) => has.has(feature)));
  const isa = env.THIMBLE_ISA ?? able[0];
  if (env.THIMBLE_ISA !== undefined && !able.includes(isa))
    throw new Error(`[native] THIMBLE_ISA is '${isa}'; this machine runs ${able.join(', ')}`);
  if (!isa) return null;
  const wide = isa === 'x64-v4' ? ['-mprefer-vector-width=512'] : [];
  return { isa, flags: [...flags, ...levels[isa].map((feature) => `-m${feature}`), ...wide] };
}

/** The first compiler that answers. */
function compiler() {
  for (const name of [env.CC, 'cc', 'gcc', 'clang']) {
    if (!name) continue;
    const command = name.trim().split(/\s+/);
    if (spawnSync(command[0], [...command.slice(1), '--version']).status === 0) return command;
  }
  return null;
}

const hash = (...parts) =>
  parts
    .reduce((h, part) => h.update(part).update('\0'), createHash('sha256'))
    .digest('hex')
    .slice(0, 10);

function sourceFiles() {
  return readdirSync(sources)
    .filter((name) => /\.[ch]$/.test(name))
    .sort()
    .map((name) => join(sources, name));
}

/** Where libraries may be: in the package, else in the user's cache. */
function folders() {
  return [join(root, 'build'), join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'thimble')];
}

function writable(folder) {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The names in a folder; none where it is missing or closed to us. */
function list(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const nameOf = (prefix, library) => `${prefix}${hash(readFileSync(library))}.so`;

/** Whether a file is the library that its name says: neither cut off nor closed to us. */
function whole(prefix, path) {
  try {
    return basename(path) === nameOf(prefix, path);
  } catch {
    return false;
  }
}

/** The first whole library there whose name begins so. */
function found(prefix) {
  for (const folder of folders())
    for (const name of list(folder)) if (name.startsWith(prefix) && whole(prefix, join(folder, name))) return join(folder, name);
  return null;
}

/** Compiles a library into `home`: the objects side by side on all cores, then the link. Returns its path, or the compiler's complaint. */
function compile(cc, options, files, home, prefix) {
  let folder;
  const run = (command, args, input) => {
    const { status, stderr, error } = spawnSync(command, args, { cwd: folder, input, encoding: 'utf8' });
    return status === 0 ? '' : (stderr || String(error ?? `exit ${status}`)).trim();
  };
  try {
    folder = mkdtempSync(join(home, '.tmp-'));
    const units = files.filter((file) => file.endsWith('.c'));
    const one = 'for file; do :; done; exec "$@" -o "${file##*/}.o"'; // xargs puts the file last
    const workers = ['-0', '-n', '1', '-P', String(availableParallelism())];
    const objects = units.map((file) => `${basename(file)}.o`);
    const made = join(folder, 'thimble.so');
    const complaint =
      run('xargs', [...workers, 'sh', '-c', one, 'sh', ...cc, ...options, '-c'], units.join('\0')) ||
      run(cc[0], [...cc.slice(1), ...options, '-shared', ...objects, '-lm', '-o', made]);
    if (complaint) return { complaint };
    const path = join(home, nameOf(prefix, made));
    renameSync(made, path);
    return { path };
  } catch (error) {
    // a full disk, say
    return { complaint: String(error) };
  } finally {
    if (folder) rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The library for this machine, compiled if it is not there yet. Processes may call this at the same time.
 * @param {{ quiet?: boolean, onFallback?: (why: string) => void }} [options] quiet: print nothing; onFallback: told why there is none
 * @returns {{ path: string, isa: string, built: boolean } | null} null where none can be had
 */
export function ensureNative({ quiet = false, onFallback } = {}) {
  const say = (line) => {
    if (!quiet) console.log(`[native] ${line}`);
  };
  const fallback = (why) => {
    onFallback?.(why);
    say(`${why}; Thimble will run its WebAssembly build`);
    return null;
  };

  const machine = target();
  if (!machine) return fallback(`no kernels in C for ${platform} ${arch}`);
  const { isa, flags: options } = machine;
  const files = sourceFiles();
  if (!files.some((file) => file.endsWith('.c'))) return fallback(`${join(sources, '*.c')} is missing from this installation`);
  const prefix = `thimble-${isa}-${hash(options.join(' '), ...files.map((file) => readFileSync(file)))}-`;

  // a library of these sources and flags is good whatever compiler made it; asking the compiler would cost every start its time
  const known = found(prefix);
  if (known) {
    say(`${known} is up to date`);
    return { path: known, isa, built: false };
  }
  const cc = compiler();
  if (!cc) return fallback('no C compiler (cc, gcc, clang) was found');

  const folder = folders().find(writable);
  if (!folder) return fallback(`cannot write to ${folders().join(' or ')}`);
  const { path, complaint } = compile(cc, options, files, folder, prefix);
  if (!path) return fallback(`${cc.join(' ')} failed: ${complaint.split('\n', 1)[0]}`);
  say(`compiled ${path}`);
  return { path, isa, built: true };
}

if (existsSync(argv[1] ?? '') && realpathSync(argv[1]) === fileURLToPath(import.meta.url))
  ensureNative({ quiet: argv.includes('--quiet') });
