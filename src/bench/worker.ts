/**
 * One measurement in a process of its own, as one JSON line: `worker.js step <name> <reps>`, `matmul <reps>`, `overhead`, `memory`; `profile <name>
 * <reps>` prints where a step spends its time. Threads and build come from THIMBLE_THREADS and THIMBLE_CPU.
 */
import '../device/index.ts';
import { residentBytes } from '../bytes/index.ts';
import { add, compile, cumsum, defaultDevice, matmul, mul, random, sum, tensor } from '../tensor/index.ts';
import { median } from '../train/index.ts';
import { shares, showShares } from './profile.ts';
import { type BenchStep, benchSteps } from './steps.ts';

function time(reps: number, run: () => void): number[] {
  return Array.from({ length: reps }, () => {
    const start = performance.now();
    run();
    return performance.now() - start;
  });
}

function makeStep(name: string): BenchStep {
  const make = benchSteps[name as keyof typeof benchSteps];
  if (!make) throw new Error(`[bench] there is no step '${name}'; use one of ${Object.keys(benchSteps).join(', ')}`);
  return make();
}

/** The first six losses, then timed steps; ms is their median. */
function measureStep(name: string, reps: number): object {
  const step = makeStep(name);
  const losses = Array.from({ length: 6 }, () => step.run());
  const msAll = time(reps, () => void step.run());
  return { ms: median(msAll), msAll, losses, plan: step.plan() };
}

/** Each kernel call at its fastest. One alone costs some microseconds more than inside its program. */
function profileStep(name: string, reps: number): string {
  const step = makeStep(name);
  const runs = Array.from({ length: reps }, () => step.profile());
  return showShares(shares(runs[0]!.map(({ call }, i) => ({ call, ms: Math.min(...runs.map((calls) => calls[i]!.ms)) }))));
}

/** f32 1024^3. The result is not read back, as in the peers. */
function measureMatmul(reps: number): object {
  const make = (seed: number) => compile(() => random.normal(random.key(seed), [1024, 1024]))();
  const [a, b] = [make(1), make(2)];
  const product = compile((x: typeof a, y: typeof b) => matmul(x, y));
  for (let i = 0; i < 5; i++) product(a, b).dispose();
  const ms = median(time(reps, () => product(a, b).dispose()));
  return { ms, gflops: (2 * 1024 ** 3) / ms / 1e6 };
}

/** A compiled call of one tiny kernel, result freed: what is not kernel is overhead. */
function measureOverhead(): object {
  const x = tensor([1, 2, 3, 4]);
  const f = compile((y: typeof x) => add(y, 1));
  const batch = (n: number): void => {
    for (let i = 0; i < n; i++) f(x).dispose();
  };
  batch(20000);
  return { callOverheadUs: median(time(9, () => batch(5000))) / 5 };
}

/** Growth of resident memory against the plan, for a plan of 1 GiB. */
function measureMemory(): object {
  const n = 8192;
  const f = compile(() => {
    const x = random.uniform(random.key(1), [n, n]);
    const a = cumsum(x, 1);
    const b = cumsum(a, 1);
    const c = cumsum(b, 1);
    return sum(add(mul(a, b), mul(c, cumsum(c, 1))));
  });
  const plan = f.plan();
  tensor([0]).dispose(); // opens the device
  add(tensor([0]), 1).data();
  const before = residentBytes();
  f().data();
  const grown = residentBytes() - before;
  const device = defaultDevice() as ReturnType<typeof defaultDevice> & { arenaBytes?: number };
  return {
    plannedBytes: plan.peakBytes,
    arenaPlanned: plan.arenaBytes,
    arenaAllocated: device.arenaBytes ?? null,
    residentGrowth: grown,
    ratio: grown / plan.peakBytes,
  };
}

const [what, ...args] = process.argv.slice(2);
const result =
  what === 'step'
    ? measureStep(args[0]!, Number(args[1]))
    : what === 'matmul'
      ? measureMatmul(Number(args[0]))
      : what === 'overhead'
        ? measureOverhead()
        : what === 'memory'
          ? measureMemory()
          : undefined;
if (what === 'profile') process.stdout.write(`${profileStep(args[0]!, Number(args[1] ?? 10))}\n`);
else if (result) process.stdout.write(`${JSON.stringify(result)}\n`);
else if (what !== undefined) throw new Error(`[bench] '${what}' is no measurement; use step, profile, matmul, overhead or memory`);
