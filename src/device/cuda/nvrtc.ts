/** Compiles kernels at run time and keeps them on disk by source, flags, compiler and architecture. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { openLibrary } from './libraries.ts';

type Fn = (...args: unknown[]) => number;
interface Nvrtc {
  version: string;
  create: Fn;
  compile: Fn;
  size: Fn;
  cubin: Fn;
  logSize: Fn;
  log: Fn;
  destroy: Fn;
}

let nvrtc: Nvrtc | undefined;

function open(): Nvrtc {
  if (nvrtc) return nvrtc;
  const { lib } = openLibrary('nvrtc');
  const f = (name: string, args: string[]): Fn => lib.func(name, 'int', args) as unknown as Fn;
  const version = new Int32Array(32);
  f('nvrtcVersion', ['void *', 'void *'])(version, version.subarray(16));
  nvrtc = {
    version: `${version[0]}.${version[16]}`,
    create: f('nvrtcCreateProgram', ['void *', 'str', 'str', 'int', 'void *', 'void *']),
    compile: f('nvrtcCompileProgram', ['void *', 'int', 'const char **']),
    size: f('nvrtcGetCUBINSize', ['void *', 'void *']),
    cubin: f('nvrtcGetCUBIN', ['void *', 'void *']),
    logSize: f('nvrtcGetProgramLogSize', ['void *', 'void *']),
    log: f('nvrtcGetProgramLog', ['void *', 'void *']),
    destroy: f('nvrtcDestroyProgram', ['void *']),
  };
  return nvrtc;
}

/** Source -> machine code for `arch` (e.g. 'sm_90'). Needs no GPU. */
export function compileCubin(source: string, arch: string): Buffer {
  const n = open();
  const handle = new BigUint64Array(16);
  const size = new BigUint64Array(16);
  const text = (read: Fn, measure: Fn): Buffer => {
    measure(handle[0], size);
    const buffer = Buffer.alloc(Math.max(4096, Number(size[0])));
    read(handle[0], buffer);
    return buffer.subarray(0, Number(size[0]));
  };
  if (n.create(handle, source, 'thimble.cu', 0, null, null) !== 0)
    throw new Error('[cuda] NVRTC refuses to make a program; the library may be damaged');
  try {
    const options = [`--gpu-architecture=${arch}`, '--std=c++17', '--fmad=true'];
    if (n.compile(handle[0], options.length, options) !== 0)
      throw new Error(
        `[cuda] NVRTC cannot compile a generated kernel for ${arch}; please report this:\n${text(n.log, n.logSize).toString()}`,
      );
    return text(n.cubin, n.size);
  } finally {
    n.destroy(handle);
  }
}

const SEAL = 32;
const sealOf = (code: Buffer): Buffer => createHash('sha256').update(code).digest();

/** As compileCubin, from the cache where it holds an intact copy. Two processes may write the same entry: the last rename wins. */
export function cachedCubin(
  source: string,
  arch: string,
  folder = process.env.THIMBLE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'thimble'),
): Buffer {
  const key = createHash('sha256').update(`${open().version}\0${arch}\0${source}`).digest('hex').slice(0, 32);
  const path = join(folder, `cuda-${key}.cubin`);
  try {
    const file = readFileSync(path);
    const code = file.subarray(SEAL);
    if (sealOf(code).equals(file.subarray(0, SEAL))) return code;
  } catch {
    // absent or unreadable: compiled below
  }
  const code = compileCubin(source, arch);
  const temporary = `${path}.${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(temporary, Buffer.concat([sealOf(code), code]));
    renameSync(temporary, path);
  } catch {
    rmSync(temporary, { force: true }); // a cache that cannot be written costs time, nothing else
  }
  return code;
}
