/** How far long work is: a live line with rate and remaining time on a terminal, a plain line now and then elsewhere. */
import type { Out } from './output.ts';

export type ProgressMode = 'line' | 'plain' | 'silent';

/** The mode for a stream: --json silences it, unless --progress asks for it. */
export function progressMode(out: Out, { json, progress }: { json: boolean; progress: boolean }): ProgressMode {
  if (json && !progress) return 'silent';
  return out.isTTY ? 'line' : 'plain';
}

/** Milliseconds: how often each kind of line is renewed, and how far back the rate looks. */
const renew = { line: 100, plain: 10_000, silent: Number.POSITIVE_INFINITY };
const rateWindow = 15_000;

/** '8 s', '2:05', '1:02:05'. @param seconds rounded up, so that it never says 0 before the end */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number): string => String(n).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

const rateText = (perSecond: number): string => (perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toPrecision(2));

interface Phase {
  what: string;
  began: number;
  /** Recent (time, done) pairs, oldest first: the rate is taken between the ends. */
  samples: [time: number, done: number][];
  printed: number;
}

export class Progress {
  readonly #out: Out;
  readonly #mode: ProgressMode;
  readonly #now: () => number;
  #phase: Phase | undefined;
  #live = false;

  /** @param now milliseconds of a clock that never goes back */
  constructor(out: Out, mode: ProgressMode, now: () => number = () => performance.now()) {
    this.#out = out;
    this.#mode = mode;
    this.#now = now;
  }

  /** Work on `what` has come to `done` of `total` units. A new `what` begins a phase; a resumed one may begin above 0. */
  readonly update = (what: string, done: number, total: number, note = ''): void => {
    if (this.#mode === 'silent') return;
    const now = this.#now();
    if (this.#phase?.what !== what) {
      this.end();
      this.#phase = { what, began: now, samples: [], printed: this.#mode === 'plain' ? now : Number.NEGATIVE_INFINITY };
    }
    const phase = this.#phase!;
    const { samples } = phase;
    // As many samples as the window holds at the rate of renewal; more would say nothing more.
    if (samples.length < 2 || now - samples.at(-2)![0] > renew.line) samples.push([now, done]);
    else samples[samples.length - 1] = [now, done];
    while (samples.length > 2 && now - samples[1]![0] > rateWindow) samples.shift();
    const last = done >= total;
    if (!last && now - phase.printed < renew[this.#mode]) return;
    phase.printed = now;
    this.#print(this.#describe(phase, now, done, total, note), last);
    if (last) this.#phase = undefined;
  };

  /** Leaves the terminal's line, so that other text can follow. */
  end(): void {
    if (this.#live) this.#out.write('\n');
    this.#live = false;
    this.#phase = undefined;
  }

  #describe({ what, began, samples }: Phase, now: number, done: number, total: number, note: string): string {
    const [from, to] = [samples[0]!, samples.at(-1)!];
    const rate = ((to[1] - from[1]) / (to[0] - from[0])) * 1000;
    const parts = [`${what}  ${done}/${total}`, `${Math.floor((100 * done) / Math.max(total, 1))} %`];
    if (rate > 0) parts.push(`${rateText(rate)}/s`);
    if (done >= total) parts.push(`in ${duration((now - began) / 1000)}`);
    else if (rate > 0) parts.push(`${duration((total - done) / rate)} left`);
    if (note) parts.push(note);
    return parts.join('  ');
  }

  #print(text: string, last: boolean): void {
    if (this.#mode === 'plain') return void this.#out.write(`${text}\n`);
    // A line longer than the terminal would wrap, and \r would return to its last row only.
    const room = (this.#out.columns ?? 80) - 1;
    this.#out.write(`\r\x1b[K${text.slice(0, room)}${last ? '\n' : ''}`);
    this.#live = !last;
  }
}
