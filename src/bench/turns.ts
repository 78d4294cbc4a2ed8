/**
 * Two processes on one card that measure by turns: what the card's clocks and temperature do meets both, so that their ratio can be told. A name on a
 * line in, `{"figure": number}` or `{"error": why}` on a line out; what a name needs stays prepared until another comes.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { median } from '../train/index.ts';
import { type Line, lineOf, type Row } from './section.ts';

/** One figure, ready to be measured again and again. */
export interface Turn {
  measure(): number;
  free(): void;
}

/** Whoever measures the figure of a name; null where it cannot. */
export interface Side {
  ask(name: string): Promise<number | null>;
}

/** Answers every line of `input` until it ends. */
export async function serve(prepare: (name: string) => Turn, input: Readable, output: Writable): Promise<void> {
  let ready: { name: string; turn: Turn } | undefined;
  for await (const name of createInterface({ input })) {
    let answer: { figure: number } | { error: string };
    try {
      if (ready?.name !== name) {
        ready?.turn.free();
        ready = undefined;
        ready = { name, turn: prepare(name) };
      }
      answer = { figure: ready.turn.measure() };
    } catch (error) {
      answer = { error: (error as Error).message };
    }
    output.write(`${JSON.stringify(answer)}\n`);
  }
}

/** Why a process ended, from what it wrote to stderr: behind an error come the places where it was. */
export const lastWords = (lines: readonly string[]): string | undefined => lines.find((l) => /^\w*Error\b/.test(l)) ?? lines.at(-1);

/** A process that answers. What it cannot measure is told once, in `reasons`; once it has ended, nothing can be. */
export class Measurer implements Side {
  readonly reasons: string[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #answers: AsyncIterator<string>;
  readonly #who: string;
  readonly #complaints: string[] = [];

  /** @param ms after which it is ended */
  constructor(who: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv, ms: number) {
    this.#who = who;
    this.#child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'], timeout: ms });
    this.#child.on('error', (error) => this.#complaints.push(error.message));
    this.#child.stdin.on('error', () => {}); // it has ended: its output says so
    createInterface({ input: this.#child.stderr }).on('line', (line) => this.#complaints.push(line));
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ask(name: string): Promise<number | null> {
    this.#child.stdin.write(`${name}\n`);
    let line: IteratorResult<string>;
    do line = await this.#answers.next();
    while (!line.done && !line.value.startsWith('{')); // libraries print, too
    const { figure, error } = line.done
      ? { error: this.#child.killed ? 'out of time' : `ended: ${lastWords(this.#complaints)}` }
      : (JSON.parse(line.value) as { figure?: number; error?: string });
    if (error === undefined) return figure ?? null;
    const reason = `${this.#who}: ${line.done ? '' : `${name}: `}${error}`;
    if (!this.reasons.includes(reason)) this.reasons.push(reason);
    return null;
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null && this.#child.pid) await once(this.#child, 'exit');
  }
}

/** The median lies between the eighth lowest and the eighth highest of so many rounds with 96 %: binomially, no law of errors is assumed. */
const ROUNDS = 25;
const BOUND = 8;

/** The row from rounds of both sides, in which now one begins and now the other; its ratio is the median of the rounds'. */
export async function byTurns(row: Row, ours: Side | undefined, theirs: Side | undefined): Promise<Line> {
  const sides = [
    { side: ours, name: row.ours ?? row.name, figures: [] as number[] },
    { side: theirs, name: row.theirs ?? row.name, figures: [] as number[] },
  ] as const;
  const unable = new Set(sides.filter(({ side }) => !side));
  for (let round = 0; round < ROUNDS; round++)
    for (const one of round % 2 ? [...sides].reverse() : sides) {
      if (unable.has(one)) continue;
      const figure = await one.side!.ask(one.name);
      if (figure === null) unable.add(one);
      else one.figures.push(figure);
    }
  const [a, b] = sides.map((one) => (unable.has(one) ? null : median(one.figures))) as [number | null, number | null];
  if (a === null || b === null) return lineOf(row, a, b);
  const ratios = sides[0].figures.map((x, round) => x / sides[1].figures[round]!).sort((x, y) => x - y);
  const between = [ratios[BOUND - 1]!, ratios.at(-BOUND)!].map((x) => Number(x.toFixed(3))) as [number, number];
  return { ...lineOf(row, a, b, median(ratios)), between };
}
