/** Measured bytes: what files occupy, what the process holds now, and the most it held during an interval. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

export interface FileBytes {
  /** Length of the files as a reader sees them. */
  apparent: number;
  /** Blocks that the file system gave them: larger by rounding, smaller for sparse or compressed files. */
  allocated: number;
}

/** Bytes of files and folders (walked; links are not followed), by stat of what is on disk. @throws the system's error for a missing path. */
export function fileBytes(...paths: string[]): FileBytes {
  const total: FileBytes = { apparent: 0, allocated: 0 };
  const add = (path: string): void => {
    const stat = statSync(path);
    if (stat.isDirectory()) {
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory() || entry.isFile()) add(join(path, entry.name));
      return;
    }
    total.apparent += stat.size;
    total.allocated += (stat.blocks ?? Math.ceil(stat.size / 512)) * 512; // POSIX: st_blocks counts 512-byte units
  };
  for (const path of paths) add(path);
  return total;
}

/** Bytes of memory that the process has resident now. */
export function residentBytes(): number {
  return process.memoryUsage.rss();
}

function vmHighWater(): number | undefined {
  try {
    const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'));
    return match ? Number(match[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
}

/** Sets the kernel's high-water mark back to the present resident size (proc(5), clear_refs 5). False where not permitted. */
function resetHighWater(): boolean {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return true;
  } catch {
    return false;
  }
}

export interface Peak {
  /** The most resident bytes of the process during the interval. */
  peakBytes: number;
  /** `peakBytes` less the resident bytes at the start: what to compare with a planned arena. */
  growthBytes: number;
  /**
   * 'kernel': the kernel's own high-water mark of the interval, exact. 'sampled': the largest of samples, a lower bound
   * (a spike between two samples is missed unless it is the process's record, which the kernel remembers).
   */
  how: 'kernel' | 'sampled';
}

export interface PeakMeterOptions {
  /** Milliseconds between samples where the kernel cannot tell. Default 20. */
  everyMs?: number;
  /** Ignore the kernel's resettable mark: how other systems than Linux behave. */
  sampleOnly?: boolean;
}

/**
 * Measures the peak of resident memory from its construction to `stop()`. One at a time per process: the kernel has one mark.
 * Samples are taken by a timer, thus only while the event loop turns; synchronous work may call `sample()` itself.
 */
export class PeakMeter {
  readonly #start: number;
  readonly #recordBefore: number;
  readonly #kernel: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  #largest: number;

  constructor({ everyMs = 20, sampleOnly = false }: PeakMeterOptions = {}) {
    this.#kernel = !sampleOnly && vmHighWater() !== undefined && resetHighWater();
    this.#start = residentBytes();
    this.#largest = this.#start;
    this.#recordBefore = process.resourceUsage().maxRSS * 1024;
    this.#timer = this.#kernel ? undefined : setInterval(() => this.sample(), everyMs);
    this.#timer?.unref();
  }

  sample(): number {
    const now = residentBytes();
    this.#largest = Math.max(this.#largest, now);
    return now;
  }

  stop(): Peak {
    clearInterval(this.#timer);
    this.sample();
    const kernel = this.#kernel ? vmHighWater() : undefined;
    // The lifetime record is no measure of an interval, except where the interval broke it.
    const record = process.resourceUsage().maxRSS * 1024;
    const sampled = record > this.#recordBefore ? Math.max(record, this.#largest) : this.#largest;
    const peakBytes = kernel === undefined ? sampled : Math.max(kernel, this.#largest);
    return { peakBytes, growthBytes: Math.max(0, peakBytes - this.#start), how: kernel === undefined ? 'sampled' : 'kernel' };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

export interface Measured<T> extends Peak {
  result: T;
  seconds: number;
}

/** Runs `work` and measures its peak and its wall time. */
export async function measurePeak<T>(work: () => T | Promise<T>, options?: PeakMeterOptions): Promise<Measured<T>> {
  using meter = new PeakMeter(options);
  const from = performance.now();
  const result = await work();
  const seconds = (performance.now() - from) / 1000;
  return { result, seconds, ...meter.stop() };
}
