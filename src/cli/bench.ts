import { spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BenchCheck, type Expected, figureAt, meets, parseBench } from '../methods/bench.ts';
import { catalogue } from '../methods/catalogue.ts';
import { whole } from './flags.ts';
import { machineLine } from './machine.ts';
import { table } from './output.ts';
import { packageRoot, versions } from './package.ts';
import { defineVerb } from './verb.ts';

interface Measured extends Expected {
  /** Mean over the seeds, and the value of each; null where the command printed none. */
  measured: number | null;
  bySeed: (number | null)[];
  ok: boolean;
}

interface BenchResult {
  id: string;
  passed: boolean;
  date: string;
  machine: string;
  versions: Record<string, string>;
  command: string[];
  seeds: number[];
  seconds: number;
  figures: Measured[];
  /** Where this was written. */
  out: string;
}

/** A command of bench.json as program and arguments: 'thimble' and 'node' are this package and this Node. */
export function commandFor([program = '', ...args]: readonly string[], seed: number): [string, string[]] {
  const rest = args.map((arg) => arg.replaceAll('{seed}', String(seed)));
  if (program === 'node') return [process.execPath, rest];
  if (program === 'thimble') return [process.execPath, [fileURLToPath(new URL('./main.js', import.meta.url)), ...rest]];
  return [program, rest];
}

/** Runs a command from the package's folder and returns the JSON of its last line. */
async function lastLineOf(
  [program, args]: [string, string[]],
  { signal, env }: { signal: AbortSignal; env: BenchCheck['env'] },
): Promise<unknown> {
  signal.throwIfAborted();
  const child = spawn(program, args, { cwd: packageRoot, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  const stop = (): void => void child.kill('SIGINT');
  signal.addEventListener('abort', stop);
  // Only the last line counts, so only the end is kept.
  let tail = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-(1 << 20));
  });
  const code = await new Promise<number | null>((done, refuse) => child.on('error', refuse).on('close', done)).finally(() =>
    signal.removeEventListener('abort', stop),
  );
  signal.throwIfAborted();
  const command = [program, ...args].join(' ');
  if (code !== 0)
    throw new Error(`[bench] '${command}' ended with ${code === null ? 'a signal' : `exit code ${code}`}; run it by itself to see why`);
  try {
    return JSON.parse(tail.trimEnd().split('\n').at(-1) ?? '');
  } catch {
    throw new Error(
      `[bench] '${command}' ended without figures as its last line; what it said is above (--folder names where its data lies)`,
    );
  }
}

/** Every expected figure, measured: the mean over the runs' JSON. */
export function compare({ expected }: Pick<BenchCheck, 'expected'>, runs: readonly unknown[]): Measured[] {
  return expected.map((figure) => {
    const bySeed = runs.map((run) => figureAt(run, figure.figure) ?? null);
    const measured = bySeed.includes(null) ? null : bySeed.reduce<number>((sum, value) => sum + value!, 0) / bySeed.length;
    return { ...figure, measured, bySeed, ok: measured !== null && meets(figure, measured) };
  });
}

const round = (value: number | null): number | null => (value === null ? null : Number(value.toPrecision(5)));

/** `thimble bench <id>` */
export default defineVerb<{ seed?: number; check?: string; folder?: string; out?: string }, [string], BenchResult>({
  brief: "Rerun a method's published figures and compare",
  help: "Runs the command of the method's bench.json once per seed, compares the means with the expected figures, and writes what was seen.\nFurther checks, such as those that want a GPU or more data, go by name: --check cifar10.\nThe exit code is 1 where a figure is outside its tolerance.",
  parameters: {
    flags: {
      seed: {
        kind: 'parsed',
        parse: whole('seed', 0),
        optional: true,
        brief: "Run this seed only, instead of the bench's own",
        placeholder: 'n',
      },
      check: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'A further check of the method, by its name in bench.json',
        placeholder: 'name',
      },
      folder: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Where the data lies that a check wants and the package does not hold',
        placeholder: 'folder',
      },
      out: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Where to write what was seen; bench/results/<id>.json, or <id>-<check>.json',
        placeholder: 'file',
      },
    },
    aliases: { o: 'out' },
    positional: { kind: 'tuple', parameters: [{ brief: 'A method (thimble methods lists them)', placeholder: 'id', parse: String }] },
  },
  async run(io, flags, id) {
    const method = catalogue().find((one) => one.id === id);
    if (!method) throw new Error(`[bench] there is no method '${id}'; thimble methods lists them`);
    const path = fileURLToPath(new URL(`../methods/${method.contract}/${id}/bench.json`, import.meta.url));
    const { further, ...main } = parseBench(readFileSync(path, 'utf8'), path);
    const bench = flags.check === undefined ? main : further[flags.check];
    if (!bench)
      throw new Error(
        `[bench] ${id} has no check '${flags.check}'; it has ${Object.keys(further).join(', ') || 'none besides its main one'}`,
      );
    if (flags.check === undefined && Object.keys(further).length > 0)
      io.print(`the main check; --check ${Object.keys(further).join(' or ')} runs a further one`);
    const out = resolve(flags.out ?? `bench/results/${[id, ...(flags.check === undefined ? [] : [flags.check])].join('-')}.json`);
    mkdirSync(dirname(out), { recursive: true });
    accessSync(dirname(out), constants.W_OK); // not after an hour
    const seeds = flags.seed === undefined ? bench.seeds : [flags.seed];
    const asked = [...bench.command, ...(flags.folder === undefined ? [] : ['--folder', resolve(flags.folder)])];
    const started = performance.now();
    const runs: unknown[] = [];
    for (const seed of seeds) {
      const command = commandFor(asked, seed);
      io.print(`seed ${seed}: ${asked.join(' ').replaceAll('{seed}', String(seed))}`);
      runs.push(await lastLineOf(command, { signal: io.signal, env: bench.env }));
    }
    const figures = compare(bench, runs);
    const result: BenchResult = {
      id,
      passed: figures.every(({ ok }) => ok),
      date: new Date().toISOString().slice(0, 10),
      machine: machineLine(),
      versions: versions(),
      command: asked,
      seeds,
      seconds: Number(((performance.now() - started) / 1000).toFixed(1)),
      figures,
      out,
    };
    const { out: _, ...seen } = result;
    writeFileSync(out, `${JSON.stringify(seen, null, 2)}\n`);
    return result;
  },
  text({ figures, passed, seconds, out }) {
    const rows = figures.map(({ figure, is, value, tolerance, measured, ok }) => [
      figure,
      `${is} ${value}${tolerance > 0 ? ` (${is === 'at least' ? '-' : is === 'at most' ? '+' : '±'}${tolerance})` : ''}`,
      round(measured),
      ok ? 'ok' : 'MISSED',
    ]);
    return `${table(['figure', 'expected', 'measured', ''], rows)}\n\n${passed ? 'as expected' : 'not as expected'}, in ${seconds} s; written to ${out}`;
  },
  succeeded: ({ passed }) => passed,
});
