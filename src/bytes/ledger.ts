/** The ledger: what each thing occupies, in files, resident memory, device memory, and at its peak. */
import { fileBytes, measurePeak, residentBytes } from './measure.ts';
import { printBytes } from './size.ts';

/** One line of the ledger. A null is 'not applicable' or 'not measured', never zero. */
export interface LedgerEntry {
  what: string;
  /** Length of the files on disk, by stat. */
  fileBytes: number | null;
  /** Memory held while it is in use. */
  residentBytes: number | null;
  /** Memory held on an accelerator. */
  deviceBytes: number | null;
  /** Peak that the planner promised before the run. */
  plannedPeakBytes: number | null;
  /** Most resident memory of the whole process during the run. */
  measuredPeakBytes: number | null;
}

const COLUMNS = [
  ['fileBytes', 'file'],
  ['residentBytes', 'resident'],
  ['deviceBytes', 'device'],
  ['plannedPeakBytes', 'planned peak'],
  ['measuredPeakBytes', 'measured peak'],
] as const;
export type LedgerColumn = (typeof COLUMNS)[number][0];

export interface MeasureOptions {
  /** Files and folders whose bytes belong to the entry; stat'ed after the work is done. */
  files?: string[];
  plannedPeakBytes?: number;
  deviceBytes?: () => number;
}

export class Ledger {
  readonly #entries: LedgerEntry[] = [];

  get entries(): readonly LedgerEntry[] {
    return this.#entries;
  }

  /** Adds a line; absent numbers are null. @throws RangeError for a negative or fractional count. */
  add(entry: { what: string } & Partial<LedgerEntry>): LedgerEntry {
    const full: LedgerEntry = {
      fileBytes: null,
      residentBytes: null,
      deviceBytes: null,
      plannedPeakBytes: null,
      measuredPeakBytes: null,
      ...entry,
    };
    for (const [column] of COLUMNS) {
      const bytes = full[column];
      if (bytes !== null && !(Number.isSafeInteger(bytes) && bytes >= 0))
        throw new RangeError(`[ledger] ${full.what}: ${column} is ${bytes}; give a whole number of bytes or null`);
    }
    this.#entries.push(full);
    return full;
  }

  /** A line for files on disk. */
  addFiles(what: string, ...paths: string[]): LedgerEntry {
    return this.add({ what, fileBytes: fileBytes(...paths).apparent });
  }

  /** Runs `work`, and adds a line with its files, the resident memory after it, and the peak during it. */
  async measure<T>(what: string, work: () => T | Promise<T>, options: MeasureOptions = {}): Promise<T> {
    const { result, peakBytes } = await measurePeak(work);
    this.add({
      what,
      fileBytes: options.files ? fileBytes(...options.files).apparent : null,
      residentBytes: residentBytes(),
      deviceBytes: options.deviceBytes?.() ?? null,
      plannedPeakBytes: options.plannedPeakBytes ?? null,
      measuredPeakBytes: peakBytes,
    });
    return result;
  }

  /** Sum of a column over the lines that have it; null where none has. Peaks do not add up: use `max` for them. */
  total(column: 'fileBytes' | 'residentBytes' | 'deviceBytes'): number | null {
    return this.#column(column).reduce<number | null>((sum, bytes) => (sum ?? 0) + bytes, null);
  }

  /** Largest value of a column; null where no line has it. */
  max(column: LedgerColumn): number | null {
    return this.#column(column).reduce<number | null>((most, bytes) => Math.max(most ?? 0, bytes), null);
  }

  #column(column: LedgerColumn): number[] {
    return this.#entries.flatMap((entry) => entry[column] ?? []);
  }

  toJSON(): LedgerEntry[] {
    return this.#entries.map((entry) => ({ ...entry }));
  }

  /** A table for people: columns without any number are left out, '-' stands for null. */
  table(): string {
    const columns = COLUMNS.filter(([column]) => this.max(column) !== null);
    const cells = (entry: LedgerEntry): string[] => columns.map(([column]) => (entry[column] === null ? '-' : printBytes(entry[column])));
    const rows = [['', ...columns.map(([, title]) => title)], ...this.#entries.map((entry) => [entry.what, ...cells(entry)])];
    const widths = rows[0]!.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
    return rows
      .map((row) =>
        row
          .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)))
          .join('  ')
          .trimEnd(),
      )
      .join('\n');
  }
}
