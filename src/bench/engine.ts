/**
 * `npm run bench -- engine [--json] [--rounds n] [--wasm]`: the engine beside its peers (bench/peers); with `--wasm` only its own two builds.
 * Ours and theirs run in turn, each in a process of its own, several rounds; what is reported is the median of the rounds' ratios, so
 * that a slow minute of the machine meets both.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { median } from '../train/index.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const workerPath = fileURLToPath(new URL('./worker.js', import.meta.url));
const peers = `${root}bench/peers`;

interface Timed {
  ms: number | null;
  gflops?: number;
  losses?: number[];
  reason?: string;
  version?: string;
  plan?: { gap: number; peakBytes: number };
}

function lastLine(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Record<string, unknown> | undefined {
  const { status, stdout } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 600_000,
  });
  if (status !== 0) return undefined;
  try {
    return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

const worker = (args: readonly (string | number)[], threads: number, env: NodeJS.ProcessEnv = {}): Timed & Record<string, unknown> => {
  const out = lastLine(process.execPath, [workerPath, ...args.map(String)], {
    THIMBLE_CPU: 'native',
    THIMBLE_THREADS: String(threads),
    THIMBLE_DEVICE: 'cpu',
    ...env,
  });
  return (out ?? { ms: null }) as unknown as Timed & Record<string, unknown>;
};
const python = (script: string, threads: number, reps: number, ...more: string[]): Timed | undefined =>
  lastLine('python3', [`${peers}/pytorch/${script}`, '--threads', String(threads), '--reps', String(reps), ...more]) as Timed | undefined;

const has = {
  torch: spawnSync('python3', ['-c', 'import torch'], { stdio: 'ignore' }).status === 0,
  jax: existsSync(`${peers}/js/jax-js/node_modules`),
  tfjs: existsSync(`${peers}/js/tfjs-wasm/node_modules`),
};

/** The median over rounds of ours / theirs, with both medians; null where one is absent. */
function pair(
  rounds: number,
  ours: () => number | null | undefined,
  theirs: () => number | null | undefined,
): { ratio: number; ours: number; theirs: number } | null {
  const a: number[] = [];
  const b: number[] = [];
  for (let r = 0; r < rounds; r++) {
    const [x, y] = [ours(), theirs()];
    if (x == null || y == null) return null;
    a.push(x);
    b.push(y);
  }
  return { ratio: median(a.map((x, i) => x / b[i]!)), ours: median(a), theirs: median(b) };
}

function main(): void {
  const args = process.argv.slice(2);
  const json = args.includes('--json');
  const option = (name: string, otherwise: number): number => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : otherwise);
  const rounds = option('--rounds', 3);
  const reps = option('--reps', 12);
  const say = (line: string): void => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  const threads = Math.min(2, availableParallelism());
  if (!has.torch) say('skipped: PyTorch and OpenBLAS (python3 cannot import torch; see bench/peers/README.md)');
  if (!has.jax) say('skipped: jax-js (npm ci in bench/peers/js/jax-js)');
  if (!has.tfjs) say('skipped: tfjs-wasm (npm ci in bench/peers/js/tfjs-wasm)');

  const show = (what: string, p: { ratio: number; ours: number; theirs: number } | null, unit: string): number | null => {
    say(p ? `${what.padEnd(46)} ${p.ratio.toFixed(2)}x   (${p.ours.toFixed(1)} / ${p.theirs.toFixed(1)} ${unit})` : `${what.padEnd(46)} -`);
    return p && Number(p.ratio.toFixed(3));
  };
  const wasmStep = (what: string, n: number, native: NodeJS.ProcessEnv = {}): number | null =>
    show(
      `reference step, wasm / native${what}`,
      pair(
        rounds,
        () => worker(['step', 'reference', reps], n, { THIMBLE_CPU: 'wasm' }).ms,
        () => worker(['step', 'reference', reps], n, native).ms,
      ),
      'ms',
    );
  const wasmRatios = () => ({
    wasmRatio: wasmStep(`, ${threads} thread${threads > 1 ? 's' : ''}`, threads), // as a user gets both on two cores
    wasmRatio1t: threads > 1 ? wasmStep(', 1 thread', 1) : null,
    wasmRatioToAvx2: process.arch === 'x64' ? wasmStep(' on AVX2, 1 thread', 1, { THIMBLE_ISA: 'x64-v3' }) : null,
  });
  const finish = (name: string, measured: object): void => {
    const result = {
      ...measured,
      machine: `${cpus()[0]?.model ?? 'unknown'} x ${availableParallelism()}, Node ${process.versions.node}`,
      date: new Date().toISOString().slice(0, 10),
    };
    mkdirSync(`${root}bench/results`, { recursive: true });
    if (args.includes('--save')) writeFileSync(`${root}bench/results/${name}.json`, `${JSON.stringify(result, null, 2)}\n`);
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
  };
  if (args.includes('--wasm')) return finish('wasm', wasmRatios());

  const step = (name: string, n: number): number | null | undefined => worker(['step', name, reps], n).ms;
  const torchStep = (script: string, n: number) => (): number | null | undefined => (has.torch ? python(script, n, reps)?.ms : null);

  const first = worker(['step', 'reference', 1], 1);
  say(`losses of the reference step: ${first.losses?.map((x) => x.toFixed(5)).join(' ')}`);
  const ratios: Record<string, number | null> = {};
  for (const n of threads > 1 ? [1, 2] : [1])
    for (const [name, script] of [
      ['reference', 'step.py'],
      ['vit', 'vit.py'],
      ['light', 'light.py'],
    ] as const)
      ratios[`${name}${n}t`] = show(
        `${name} step / PyTorch, ${n} thread${n > 1 ? 's' : ''}`,
        pair(rounds, () => step(name, n), torchStep(script, n)),
        'ms',
      );
  const matmul = (n: number): number | null =>
    show(
      `matmul 1024^3 / OpenBLAS, ${n} thread${n > 1 ? 's' : ''}`,
      pair(
        rounds,
        () => worker(['matmul', 20], n).gflops as number,
        () => (has.torch ? python('matmul.py', n, 20, '--engine', 'numpy')?.gflops : null),
      ),
      'GFLOP/s',
    );
  const matmul1 = matmul(1);
  const matmul2 = threads > 1 ? matmul(2) : null;
  const wasm = wasmRatios();
  const js =
    (folder: string): (() => number | null | undefined) =>
    () =>
      (lastLine(process.execPath, [`${peers}/js/${folder}/step.mjs`, '--threads', '1', '--reps', '3']) as Timed | undefined)?.ms;
  const jax = has.jax
    ? show(
        'reference step / jax-js, 1 thread',
        pair(1, () => step('reference', 1), js('jax-js')),
        'ms',
      )
    : null;
  const tfjs = has.tfjs
    ? show(
        'reference step / tfjs-wasm, 1 thread',
        pair(1, () => step('reference', 1), js('tfjs-wasm')),
        'ms',
      )
    : null;
  const overhead = worker(['overhead'], 1) as unknown as { callOverheadUs: number };
  const memory = worker(['memory'], 1) as unknown as { ratio: number; plannedBytes: number; arenaPlanned: number; arenaAllocated: number };
  const gaps = ['reference', 'vit'].map((name) => (worker(['step', name, 1], 1).plan as { gap: number }).gap);
  say(
    `call overhead ${overhead.callOverheadUs.toFixed(2)} us; planner gap ${(100 * Math.max(...gaps)).toFixed(2)} %; resident growth / plan of 1 GiB ${memory.ratio.toFixed(3)}; arena ${memory.arenaPlanned} planned, ${memory.arenaAllocated} allocated`,
  );

  finish('engine', {
    matmul1024GflopsRatioToOpenblas: matmul1,
    matmul1024GflopsRatioToOpenblas2t: matmul2,
    stepRatioToPytorch1t: ratios.reference1t ?? null,
    stepRatioToPytorch2t: ratios.reference2t ?? null,
    vitRatioToPytorch1t: ratios.vit1t ?? null,
    vitRatioToPytorch2t: ratios.vit2t ?? null,
    lightRatioToPytorch1t: ratios.light1t ?? null,
    lightRatioToPytorch2t: ratios.light2t ?? null,
    stepRatioToJaxJs: jax,
    stepRatioToTfjs: tfjs,
    ...wasm,
    callOverheadUs: overhead.callOverheadUs,
    plannerGap: Math.max(...gaps),
    residentGrowthToPlan: memory.ratio,
    arenaPlannedBytes: memory.arenaPlanned,
    arenaAllocatedBytes: memory.arenaAllocated,
    losses: first.losses ?? null,
  });
}

main();
