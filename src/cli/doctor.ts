import { arch, availableParallelism, freemem, platform, totalmem } from 'node:os';
import { printBytes } from '../bytes/index.ts';
import { findCompiler, machineLine } from './machine.ts';
import { errorLine } from './output.ts';
import { versions } from './package.ts';
import { defineVerb } from './verb.ts';

interface Diagnosis {
  machine: string;
  platform: string;
  cores: number;
  memoryBytes: { total: number; free: number };
  versions: Record<string, string>;
  compiler: { name: string; version: string } | null;
  /** The kernels that run: compiled here or WebAssembly, with their instruction set; null where none loads. */
  kernels: { kind: 'native' | 'wasm'; isa: string; threads: number } | null;
  /** What programs run on, as THIMBLE_DEVICE asks or by choice; null where it cannot be opened. */
  device: string | null;
  /** The GPU that is used where THIMBLE_DEVICE asks for nothing else, or why there is none; and NVIDIA's libraries. */
  gpu: { name: string; driverVersion: number } | { absent: string };
  libraries: Record<string, { path: string; version: string } | { missing: string }>;
  /** What is wrong, with the way out. Empty on a healthy machine. */
  problems: string[];
}

const noGpu = 'this machine shows no NVIDIA GPU';

async function kernels(problems: string[]): Promise<Diagnosis['kernels']> {
  try {
    const { openBackend } = await import('../device/cpu/backend.ts');
    const { kind, isa, threads } = openBackend();
    return { kind, isa, threads };
  } catch (error) {
    problems.push(errorLine(error));
    return null;
  }
}

async function gpu(problems: string[]): Promise<Pick<Diagnosis, 'gpu' | 'libraries'>> {
  const [{ CudaDevice }, { gpuPresent }, { surveyLibraries }] = await Promise.all([
    import('../device/index.ts'),
    import('../device/cuda/requirements.ts'),
    import('../device/cuda/libraries.ts'),
  ]);
  const libraries = surveyLibraries();
  if (!gpuPresent()) return { gpu: { absent: noGpu }, libraries };
  try {
    const { name, driverVersion } = new CudaDevice().info;
    return { gpu: { name, driverVersion }, libraries };
  } catch (error) {
    problems.push(`the GPU cannot be used: ${errorLine(error)}`);
    return { gpu: { absent: errorLine(error) }, libraries };
  }
}

async function device(problems: string[]): Promise<string | null> {
  try {
    const { defaultDevice } = await import('../tensor/index.ts');
    return defaultDevice().name;
  } catch (error) {
    const why = errorLine(error);
    if (!problems.some((problem) => problem.includes(why))) problems.push(why);
    return null;
  }
}

async function decoder(problems: string[]): Promise<void> {
  try {
    await import('sharp');
  } catch (error) {
    problems.push(`images cannot be decoded: ${errorLine(error)}; reinstall with npm install --include=optional`);
  }
}

/** `thimble doctor` */
export default defineVerb({
  brief: 'Show what this machine offers and what runs on it',
  parameters: {},
  async run(): Promise<Diagnosis> {
    const problems: string[] = [];
    const compiler = findCompiler();
    const running = await kernels(problems);
    await decoder(problems);
    const nvidia = await gpu(problems);
    const runsOn = await device(problems);
    if (running?.kind === 'wasm' && !compiler && platform() !== 'win32')
      problems.push('no C compiler was found, so the WebAssembly kernels run, at a third to a half of the speed; install cc, gcc or clang');
    return {
      machine: machineLine(),
      platform: `${platform()} ${arch()}`,
      cores: availableParallelism(),
      memoryBytes: { total: totalmem(), free: freemem() },
      versions: versions(),
      compiler,
      kernels: running,
      device: runsOn,
      ...nvidia,
      problems,
    };
  },
  text({ machine, cores, memoryBytes, versions, compiler, kernels, device, gpu, libraries, problems }) {
    const lines = {
      machine,
      memory: `${printBytes(memoryBytes.free)} free of ${printBytes(memoryBytes.total)}; ${cores} cores to use`,
      versions: Object.entries(versions)
        .map((pair) => pair.join(' '))
        .join(', '),
      compiler: compiler ? `${compiler.name} (${compiler.version})` : 'none',
      kernels: kernels ? `${kernels.kind}, ${kernels.isa}, ${kernels.threads} threads` : 'none',
      device: device ? `programs run on ${device} (THIMBLE_DEVICE chooses)` : 'none',
      gpu: 'name' in gpu ? gpu.name : `none (${gpu.absent})`,
      ...Object.fromEntries(
        Object.entries(libraries)
          .filter(([, l]) => 'path' in l || !('absent' in gpu && gpu.absent === noGpu))
          .map(([name, l]) => [name, 'path' in l ? `${l.version}, ${l.path}` : `missing; ${l.missing}`]),
      ),
    };
    const report = Object.entries(lines).map(([name, value]) => `${name.padEnd(10)}${value}`);
    return [...report, ...(problems.length > 0 ? ['', ...problems.map((problem) => `! ${problem}`)] : ['', 'all is well'])].join('\n');
  },
  succeeded: ({ kernels, device }) => kernels !== null && device !== null,
});
