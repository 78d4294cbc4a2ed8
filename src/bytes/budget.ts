/** A byte budget, and the one sentence that says that it does not suffice. */
import { parseBytes, printBytes, printPair } from './size.ts';

/** A number of bytes that must not be exceeded; remembers how its user wrote it. */
export class Budget {
  readonly bytes: number;
  readonly text: string;

  constructor(bytes: number, text: string = printBytes(bytes)) {
    this.bytes = parseBytes(bytes);
    this.text = text;
  }

  /** From '8MB', a number of bytes, or a budget. @throws RangeError as `parseBytes`. */
  static of(size: string | number | Budget): Budget {
    if (size instanceof Budget) return size;
    return typeof size === 'string' ? new Budget(parseBytes(size), size.trim()) : new Budget(size);
  }

  covers(bytes: number): boolean {
    return bytes <= this.bytes;
  }

  /** What is left after `bytes` are spent. @throws BudgetError where they exceed the budget. */
  minus(bytes: number, who: string, wayOut: string): Budget {
    if (!this.covers(bytes)) throw new BudgetError({ who, budget: this.bytes, needed: bytes, wayOut });
    return new Budget(this.bytes - bytes);
  }

  toString(): string {
    return this.text;
  }
}

export interface Shortfall {
  /** The method or part that speaks, e.g. 'snapkv'. */
  who: string;
  /** Bytes given and the least bytes that work. */
  budget: number;
  needed: number;
  /** What the minimum is made of, e.g. 'window 32 x 8 heads x 2 B'. */
  because?: string;
  /** What the user can do, e.g. 'raise the budget or lower window'. */
  wayOut: string;
}

/** `[who] budget 2.0 KiB is under the minimum 3.1 KiB (because); wayOut`. Both numbers stay readable by programs. */
export class BudgetError extends RangeError {
  readonly budget: number;
  readonly needed: number;

  constructor({ who, budget, needed, because, wayOut }: Shortfall) {
    const [has, least] = printPair(budget, needed);
    super(`[${who}] budget ${has} is under the minimum ${least}${because ? ` (${because})` : ''}; ${wayOut}`);
    this.name = 'BudgetError';
    this.budget = budget;
    this.needed = needed;
  }
}
