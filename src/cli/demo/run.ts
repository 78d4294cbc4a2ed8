/** The demo: the arms at every budget, one after another, resumable between and within them. */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { printExactBytes } from '../../bytes/index.ts';
import { writeFileAtomic } from '../../io/index.ts';
import type { Io } from '../verb.ts';
import { ArmResult, armTitles, Job } from './job.ts';
import { runJob } from './processes.ts';
import { overheadOf, secondsFor, turnsOf, usualOverhead, worthStarting } from './schedule.ts';

export interface DemoOptions {
  /** Time for everything. */
  seconds: number;
  seed: number;
  out: string;
  method: string;
  /** Bytes of every arm's file, the main budget first. */
  budgets: readonly number[];
  images: Job['images'];
  /** Forget what an earlier run left. */
  fresh: boolean;
}

/** What is known of a run, on the disk after every arm. */
const State = z.object({
  question: z.unknown(),
  /** Seconds spent so far. */
  spent: z.number(),
  /** Seconds of the arms of each budget, decided when its first arm began. */
  seconds: z.record(z.string(), Job.shape.seconds),
  /** Seconds that the arms of the latest whole budget took besides training. */
  overhead: z.number(),
  results: z.array(ArmResult),
  finished: z.boolean(),
});
type State = z.output<typeof State>;

export interface DemoOutcome {
  results: ArmResult[];
  seconds: number;
}

export async function runArms(options: DemoOptions, io: Io): Promise<DemoOutcome> {
  const { out, budgets, seed, method, images } = options;
  try {
    mkdirSync(out, { recursive: true });
  } catch (error) {
    throw new Error(`[demo] ${out} is no folder and cannot become one (${(error as Error).message}); choose another --out`, {
      cause: error,
    });
  }
  const path = join(out, 'demo.json');
  const question = { seconds: options.seconds, seed, method, budgets, images };
  const state = openState(path, question, options.fresh) ?? {
    question,
    spent: 0,
    seconds: {},
    overhead: usualOverhead,
    results: [],
    finished: false,
  };
  if (state.spent > 0) io.print(`going on after ${state.results.length} arms and ${state.spent.toFixed(0)} s (--fresh starts anew)`);
  let since = performance.now();
  const save = async (): Promise<void> => {
    const now = performance.now();
    state.spent += (now - since) / 1000;
    since = now;
    await writeFileAtomic(path, Buffer.from(JSON.stringify(state)));
  };
  const sinceSave = (): number => (performance.now() - since) / 1000;
  const left = (): number => options.seconds - state.spent - sinceSave();
  /** When the arms of the budget in hand began, where that was in this process. */
  let began: number | undefined;

  try {
    for (const { arm, budget } of turnsOf(budgets)) {
      if (state.results.some((one) => one.arm === arm && one.budget === budget)) continue;
      const index = budgets.indexOf(budget);
      const name = printExactBytes(budget);
      if (index > 0 && !state.seconds[name] && !worthStarting(left(), state.overhead)) {
        io.print(`no time is left for ${name}; --seconds gives more`);
        break;
      }
      const seconds = (state.seconds[name] ??= secondsFor(index, budgets.length, left(), state.overhead));
      if (arm === 'tokens') began = state.spent + sinceSave();
      const folder = join(out, name);
      mkdirSync(folder, { recursive: true });
      io.print(`${name}, ${armTitles[arm]}: ${seconds.classifier.toFixed(0)} s of training`);
      await save();
      const job: Job = { arm, budget, folder, method, seed, seconds, images, pictures: true };
      const result = await runJob(job, {
        signal: io.signal,
        progress: (what, done, total, note) => io.progress(`${name} ${arm}: ${what}`, done, total, note),
      });
      state.results.push(result);
      if (arm === 'downsampled' && began !== undefined) state.overhead = overheadOf(state.spent + sinceSave() - began, seconds);
      io.print(`  ${result.fileBytes} bytes, accuracy ${(100 * result.accuracy).toFixed(1)} %`);
    }
    state.finished = true;
  } finally {
    await save();
  }
  return { results: state.results, seconds: state.spent };
}

/** The unfinished run of this very question, if there is one; the folders of any other are removed. */
function openState(path: string, question: object, fresh: boolean): State | undefined {
  if (!existsSync(path)) return undefined;
  const parsed = State.safeParse(readJson(path));
  if (!fresh && parsed.success && !parsed.data.finished && JSON.stringify(parsed.data.question) === JSON.stringify(question))
    return parsed.data;
  const budgets = z.object({ question: z.object({ budgets: z.array(z.int().positive()) }) }).safeParse(readJson(path));
  for (const budget of budgets.data?.question.budgets ?? [])
    rmSync(join(path, '..', printExactBytes(budget)), { recursive: true, force: true });
  rmSync(path);
  return undefined;
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
