/** Compiles kernels at run time and keeps them on disk by source, flags, compiler and architecture. */
import { cacheFolder, cacheKey, readCache, writeCache } from './cache.ts';
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

/** The version of NVRTC, 1000 * major + 10 * minor, and the compute capabilities (x 10) that it makes code for. */
export function nvrtcAbilities(): { version: number; architectures: number[] } {
  const [major, minor] = open().version.split('.').map(Number) as [number, number];
  const { lib } = openLibrary('nvrtc');
  const count = new Int32Array(64);
  const list = new Int32Array(64);
  try {
    (lib.func('nvrtcGetNumSupportedArchs', 'int', ['void *']) as unknown as Fn)(count);
    (lib.func('nvrtcGetSupportedArchs', 'int', ['void *']) as unknown as Fn)(list);
  } catch {
    // before 11.2 it cannot be asked
  }
  return { version: 1000 * major + 10 * minor, architectures: [...list.subarray(0, count[0])] };
}

/** The architecture to compile for: Hopper's own instructions are in none of its successors. */
export const archOf = (source: string, capability: number): string => `sm_${capability}${source.includes('wgmma.mma_async') ? 'a' : ''}`;

/** Source -> machine code for `arch` (e.g. 'sm_90'). Needs no GPU. @param told is given what the compiler says of source that it takes. */
export function compileCubin(source: string, arch: string, told?: (log: string) => void): Buffer {
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
    told?.(text(n.log, n.logSize).toString());
    return text(n.cubin, n.size);
  } finally {
    n.destroy(handle);
  }
}

/** As compileCubin, from the cache where it holds an intact copy. A cache that cannot be written costs time, nothing else. */
export function cachedCubin(source: string, arch: string, folder = cacheFolder()): Buffer {
  const name = `cuda-${cacheKey(open().version, arch, source)}.cubin`;
  const known = readCache(name, folder);
  if (known) return known;
  const code = compileCubin(source, arch);
  writeCache(name, code, folder);
  return code;
}
