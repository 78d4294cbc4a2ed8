/** Checks that take minutes: each arm is saved as soon as it is done, and the check started again goes on from what is saved. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { errorMessage } from '../io/errors.ts';
import { writeFileAtomic } from '../io/index.ts';
import type { SeedRun } from './seeds.ts';

/** Says how far a phase of an arm is. Called as often as it likes: a line is printed every ten seconds. */
export type Tell = (what: string, step: number, steps: number, loss?: number) => void;

export interface ArmsRun<Arm extends { name: string }, Setting extends object> {
  method: string;
  /** What was asked, arms and seeds aside. */
  setting: Setting;
  seeds: readonly number[];
  names: readonly string[];
  /** Training steps of an arm, which is what it costs. */
  steps: (name: string) => number;
  /** Where arms are saved, a file each; several processes may fill one folder, each with seeds of its own. Nothing is saved if absent. */
  save?: string | undefined;
  /** All arms of all seeds side by side. */
  together?: boolean;
  /** Runs one. `work` is a folder of its seed for what arms share and for checkpoints; it stays where the run was cut short and is saved. */
  run: (name: string, seed: number, work: string, tell: Tell) => Promise<Arm>;
  /** Told after each arm what is known of its seed, and at the start what was saved. */
  onArm: (run: { setting: Setting & { seed: number }; arms: Arm[] }, last: Arm | undefined) => void;
  log?: (line: string) => void;
}

const tellEveryMs = 10_000;
const count = (n: number): string => Math.round(n).toLocaleString('en');

/** Runs the arms that are not saved yet. @throws Error where the folder holds arms of another setting, and what `run` throws */
export async function runArms<Arm extends { name: string }, Setting extends object>(options: ArmsRun<Arm, Setting>): Promise<void> {
  const { method, names, seeds, save, together = false, log = (line) => console.error(line) } = options;
  if (save) await mkdir(save, { recursive: true });
  const pathOf = (seed: number, name: string): string => join(save!, `seed-${seed}.${name}.json`);
  const workOf = (seed: number): string => join(save!, `seed-${seed}`);
  /** Beside what is unfinished: it is not gone on with under another setting. */
  const settingOf = (seed: number): string => join(workOf(seed), 'setting.json');
  const bySeed: { seed: number; setting: Setting & { seed: number }; arms: Arm[]; left: string[] }[] = [];
  for (const seed of seeds) {
    const setting = { ...options.setting, seed };
    const arms: Arm[] = [];
    if (save) {
      for (const name of names) arms.push(...(await readArms<Arm>(pathOf(seed, name), setting)));
      await readArms(settingOf(seed), setting, workOf(seed));
    }
    bySeed.push({ seed, setting, arms, left: names.filter((name) => !arms.some((arm) => arm.name === name)) });
  }
  const total = bySeed.reduce((sum, { left }) => sum + left.length, 0);
  const cost = (some: readonly string[]): number => some.reduce((sum, name) => sum + options.steps(name), 0);
  const costs = bySeed.reduce((sum, { left }) => sum + cost(left), 0);
  const known = save ? `, ${names.length * seeds.length - total} of them in ${save}` : '';
  log(`[${method}] ${names.length} arms on ${seeds.length} seeds${known}; ${total} to run, ${count(costs)} training steps`);

  const began = performance.now();
  let [done, paid] = [0, 0];
  const runSeed = async ({ seed, setting, arms, left }: (typeof bySeed)[number]): Promise<void> => {
    if (arms.length > 0) options.onArm({ setting, arms }, undefined);
    if (left.length === 0) return;
    const work = save ? workOf(seed) : await mkdtemp(join(tmpdir(), `${method}-`));
    await mkdir(work, { recursive: true });
    if (save) await write(settingOf(seed), setting, []);
    const runArm = async (name: string): Promise<void> => {
      const arm = await options.run(name, seed, work, teller(`${name}, seed ${seed}`, log)).catch((error: unknown) => {
        log(`[${method}] ${name}, seed ${seed} failed: ${errorMessage(error)}`);
        throw error;
      });
      if (save) await write(pathOf(seed, name), setting, [arm]);
      arms.push(arm);
      paid += options.steps(name);
      options.onArm({ setting, arms }, arm);
      const minutes = (performance.now() - began) / 60_000;
      const rest = together || ++done === total ? '' : `, about ${((minutes * (costs - paid)) / paid).toFixed(1)} left`;
      log(`[${method}] ${name}, seed ${seed} is done after ${minutes.toFixed(1)} minutes${rest}`);
    };
    let whole = false;
    try {
      if (together) await allOf(left.map(runArm));
      else for (const name of left) await runArm(name);
      whole = true;
    } finally {
      if (whole || !save) await rm(work, { recursive: true, force: true });
    }
  };
  if (together) await allOf(bySeed.map(runSeed));
  else for (const one of bySeed) await runSeed(one);
}

/** Waits for all, though one fails: the others have their folder to the end, and are saved. @throws what the first of them threw */
async function allOf(jobs: readonly Promise<void>[]): Promise<void> {
  for (const job of await Promise.allSettled(jobs)) if (job.status === 'rejected') throw job.reason;
}

const write = (path: string, setting: { seed: number }, arms: readonly { name: string }[]): Promise<number> =>
  writeFileAtomic(path, Buffer.from(`${JSON.stringify({ setting, arms })}\n`));

/** The arms of a file; none where there is no file. @throws Error that names `holder` where it is of another setting */
async function readArms<Arm extends { name: string }>(path: string, setting: { seed: number }, holder = path): Promise<Arm[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return [];
  let saved: SeedRun<Arm>;
  try {
    saved = JSON.parse(text) as SeedRun<Arm>;
  } catch (error) {
    throw new Error(`[check] ${path} is not what a check saves (${(error as Error).message}); delete it, or save to another folder`);
  }
  if (!isDeepStrictEqual(saved.setting, setting))
    throw new Error(
      `[check] ${holder} is of ${JSON.stringify(saved.setting)}, asked is ${JSON.stringify(setting)}; save to another folder, or delete it`,
    );
  return saved.arms;
}

function teller(who: string, log: (line: string) => void): Tell {
  let told = performance.now();
  return (what, step, steps, loss) => {
    const now = performance.now();
    if (now - told < tellEveryMs) return;
    told = now;
    log(`${who}: ${what} ${count(step)} of ${count(steps)}${loss === undefined ? '' : `, loss ${loss.toFixed(4)}`}`);
  };
}
