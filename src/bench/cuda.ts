/**
 * `npm run bench -- cuda [--json] [--save] [section ...]`: the GPU beside PyTorch, section by section (bench/cuda). Ours and theirs run one
 * after the other or by turns, each in a process of its own; figures are medians. Without a GPU or PyTorch the figures that need it are null.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openGpu } from '../device/cuda/driver.ts';
import { surveyLibraries } from '../device/cuda/libraries.ts';
import { type Alternating, type Figures, type InSequence, type Line, linesOf, type Section } from './section.ts';
import { byTurns, lastWords, Measurer, serve } from './turns.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = new URL('./cuda/', import.meta.url);
/** The whole command ends within ten minutes: what is left of it limits each process. */
const deadline = performance.now() + 590_000;
const env = { ...process.env, THIMBLE_DEVICE: 'cuda' };
/** Arguments of node for our side of a section. */
const measuring = (id: string): string[] => [fileURLToPath(import.meta.url), '--measure', id];

const ids = readdirSync(folder)
  .filter((f) => f.endsWith('.js') && !f.endsWith('.test.js'))
  .map((f) => f.slice(0, -3));
const load = async (id: string): Promise<Section> => ((await import(new URL(`${id}.js`, folder).href)) as { section: Section }).section;

/** The JSON on the last line that a process prints, or why there is none. What it says on stderr after `> ` is handed on at once. */
async function lastLine(
  command: string,
  args: readonly string[],
  progress: (line: string) => void = () => {},
  seconds = Number.POSITIVE_INFINITY,
): Promise<{ value?: Record<string, unknown>; reason?: string }> {
  const until = Math.min(deadline, performance.now() + seconds * 1000);
  const child = spawn(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: Math.max(1, Math.round(until - performance.now())),
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('> ')) progress(line.slice(2));
    else lines.push(line);
  });
  try {
    const closed = once(child, 'close').catch(() => {});
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null];
    // processes that it started, a compiler's, may keep its pipes open after its end
    await Promise.race([closed, delay(2000)]);
    child.stdout.destroy();
    child.stderr.destroy();
    if (status === 0) return { value: JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Record<string, unknown> };
    if (signal) {
      const [known] = stdout
        .split('\n')
        .filter((l) => l.startsWith('{'))
        .slice(-1);
      const value = known === undefined ? undefined : (JSON.parse(known) as Record<string, unknown>);
      return { reason: performance.now() >= until ? 'out of time' : `ended by ${signal}`, ...(value ? { value } : {}) };
    }
    return { reason: lastWords(lines) ?? `exit code ${status}` };
  } catch (error) {
    return { reason: lines.at(-1) ?? (error as Error).message };
  }
}

/** Why there is no GPU to measure, or what it is. */
function gpu(): { name: string } | string {
  try {
    return openGpu(Number(process.env.THIMBLE_GPU ?? 0)).info;
  } catch (error) {
    return (error as Error).message;
  }
}

function show(line: Line): string {
  const figure = (x: number | null): string => (x === null ? '-' : x.toPrecision(4)).padStart(9);
  const ratio = line.ratio === null ? '     -' : `${line.ratio.toFixed(2)}x`.padStart(6);
  const between = line.between ? `  ${line.between.map((x) => x.toFixed(3)).join(' to ')}` : '';
  return `  ${line.name.padEnd(44)} ${ratio}  (${figure(line.ours)} / ${figure(line.theirs)} ${line.unit})${between}${line.met === false ? '  below target' : ''}`;
}

interface Measured {
  lines: Line[];
  /** Ours, remarks among them. */
  figures: Figures;
  /** Why something is missing. */
  reasons: string[];
}

/** @param script the peer's; undefined where it cannot run. */
async function inSequence(
  id: string,
  { rows, peerSeconds }: InSequence,
  script: string | undefined,
  told: (line: Line) => void,
): Promise<Measured> {
  const start = performance.now();
  const reasons: string[] = [];
  const measured = async (who: string, command: string, args: readonly string[], seconds?: number): Promise<Figures> => {
    const progress = (line: string): void =>
      void process.stderr.write(`  ${who}, ${Math.round((performance.now() - start) / 1000)} s: ${line}\n`);
    const { value, reason } = await lastLine(command, args, progress, seconds);
    if (reason) reasons.push(`${who}: ${reason}`);
    return (value?.figures ?? {}) as Figures;
  };
  const figures = await measured('ours', process.execPath, measuring(id));
  const theirs = script === undefined ? {} : await measured('PyTorch', 'python3', [script], peerSeconds);
  const lines = linesOf(rows, figures, theirs);
  lines.forEach(told);
  return { lines, figures, reasons };
}

/** Each line is told as soon as it is there. */
async function alternately(id: string, { rows }: Alternating, script: string | undefined, told: (line: Line) => void): Promise<Measured> {
  const left = Math.max(1, Math.round(deadline - performance.now()));
  const ours = new Measurer('ours', process.execPath, measuring(id), env, left);
  const theirs = script === undefined ? undefined : new Measurer('PyTorch', 'python3', [script], env, left);
  const lines: Line[] = [];
  for (const row of rows) {
    const line = await byTurns(row, ours, theirs);
    lines.push(line);
    told(line);
  }
  await Promise.all([ours.end(), theirs?.end()]);
  return { lines, figures: {}, reasons: [...ours.reasons, ...(theirs?.reasons ?? [])] };
}

/** Writes what was measured; other sections that the same machine has measured on the same day stay in the file. */
function keep(where: Record<string, unknown>, sections: Record<string, unknown>): void {
  if (where.gpu === null) throw new Error('[bench] there is no GPU, so there is nothing to save');
  const path = `${root}bench/results/cuda.json`;
  let before: Record<string, unknown> = {};
  try {
    const { command: _, sections: old, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    if (JSON.stringify(rest) === JSON.stringify(where)) before = old as Record<string, unknown>;
  } catch {
    // none yet
  }
  mkdirSync(`${root}bench/results`, { recursive: true });
  writeFileSync(
    path,
    `${JSON.stringify({ ...where, command: 'npm run bench -- cuda --save', sections: { ...before, ...sections } }, null, 2)}\n`,
  );
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const [json, save] = [args.includes('--json'), args.includes('--save')];
  const say = (line: string): void => {
    if (!json) process.stdout.write(`${line}\n`);
  };
  const wanted = args.filter((a) => !a.startsWith('--'));
  const unknown = wanted.find((w) => !ids.includes(w));
  if (unknown) throw new Error(`[bench] there is no section '${unknown}'; use some of ${ids.join(', ')}`);

  const card = gpu();
  const asked = 'import importlib.metadata, json; print(json.dumps({"version": importlib.metadata.version("torch")}))'; // importing it takes seconds
  const torch = (await lastLine('python3', ['-c', asked])).value?.version ?? null;
  if (typeof card === 'string') say(`skipped: ours (${card})`);
  if (!torch) say('skipped: PyTorch (python3 has no torch; see bench/peers/README.md)');

  const sections: Record<string, { seconds: number; lines: Line[]; remarks?: Figures; reasons?: string[] }> = {};
  for (const id of wanted.length ? wanted : ids) {
    const section = await load(id);
    const start = performance.now();
    say(section.title);
    const told = (line: Line): void => say(show(line));
    const theirs = torch && section.peer ? `${root}bench/peers/pytorch/${section.peer}` : undefined;
    const { lines, figures, reasons } =
      typeof card === 'string'
        ? { lines: linesOf(section.rows, {}, {}), figures: {}, reasons: [] }
        : await ('prepare' in section ? alternately(id, section, theirs, told) : inSequence(id, section, theirs, told));
    const remarks = Object.fromEntries(Object.entries(figures).filter(([, v]) => typeof v === 'string'));
    const seconds = Math.round((performance.now() - start) / 1000);
    sections[id] = { seconds, lines, ...(Object.keys(remarks).length ? { remarks } : {}), ...(reasons.length ? { reasons } : {}) };
    for (const [name, text] of Object.entries(remarks)) say(`  ${name}: ${text}`);
    for (const reason of reasons) say(`  failed: ${reason}`);
    say(`  ${seconds} s`);
  }

  const versions = Object.entries(surveyLibraries()).map(([name, l]) => [name, 'version' in l ? l.version : null]);
  const where = {
    gpu: typeof card === 'string' ? null : card.name,
    libraries: Object.fromEntries(versions) as Record<string, string | null>,
    torch,
    machine: `${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`,
    date: new Date().toISOString().slice(0, 10),
  };
  const result = { ...where, command: `npm run bench -- cuda${wanted.map((w) => ` ${w}`).join('')}`, sections };
  if (save) keep(where, sections);
  if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
}

const measure = process.argv.indexOf('--measure');
if (measure < 0) await main();
else {
  await import('../device/index.ts');
  const { version } = process;
  const section = await load(process.argv[measure + 1]!);
  if ('prepare' in section) await serve((name) => section.prepare(name), process.stdin, process.stdout);
  else process.stdout.write(`${JSON.stringify({ version, figures: await section.measure() })}\n`);
}
