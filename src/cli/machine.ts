/** The machine that a figure was seen on. */
import { spawnSync } from 'node:child_process';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { printBytes } from '../bytes/index.ts';

/** Processor, cores, memory and system, as one line. */
export function machineLine(): string {
  const processors = cpus();
  const model = processors[0]?.model.replace(/\s+/g, ' ').trim() || arch();
  return `${model}, ${processors.length} cores, ${printBytes(totalmem())}, ${platform()} ${release()}`;
}

/** The first C compiler that answers, as the native build looks for it: $CC, cc, gcc, clang. */
export function findCompiler(): { name: string; version: string } | null {
  for (const name of [process.env.CC, 'cc', 'gcc', 'clang']) {
    if (!name) continue;
    const [program = '', ...args] = name.trim().split(/\s+/);
    const { status, stdout } = spawnSync(program, [...args, '--version'], { encoding: 'utf8' });
    if (status === 0) return { name, version: stdout.split('\n', 1)[0]?.trim() ?? '' };
  }
  return null;
}
