/** What a verb says, to people and to programs. */
import { z } from 'zod';

/** Anything that can be written to; process.stdout and process.stderr are. */
export interface Out {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** The last line of a verb under --json: one object, on one line. */
export function jsonLine(result: unknown): string {
  return `${JSON.stringify(result)}\n`;
}

/** An error as one line; with THIMBLE_DEBUG set, with its stack and its causes. */
export function errorLine(error: unknown, debug = Boolean(process.env.THIMBLE_DEBUG)): string {
  if (debug && error instanceof Error) {
    const cause = error.cause === undefined ? '' : `\ncaused by: ${errorLine(error.cause, true)}`;
    return `${error.stack ?? error.message}${cause}`;
  }
  const text = error instanceof z.ZodError ? z.prettifyError(error) : error instanceof Error ? error.message : String(error);
  return printable(text.split(/\s*\n\s*/).join(' ')).trim() || 'failed without a message; set THIMBLE_DEBUG=1 to see where';
}

/** Names of files and classes can hold line ends and a terminal's commands: they are shown as JSON escapes. */
export const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);

export type Cell = string | number | null | undefined;

/** How many columns of a terminal a text takes: wide East Asian characters take two, combining marks none. */
function width(text: string): number {
  let columns = 0;
  for (const character of text)
    columns += /\p{Mark}/u.test(character)
      ? 0
      : /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/.test(character)
        ? 2
        : 1;
  return columns;
}

/** Text columns, numbers to the right, header underlined. `rows` may be shorter than `header`; null and undefined print as '-'. */
export function table(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = [header, ...rows].map((row) => header.map((_, column) => printable(String(row[column] ?? (row === header ? '' : '-')))));
  const widths = header.map((_, column) => Math.max(...text.map((row) => width(row[column]!))));
  const numeric = header.map((_, column) => rows.length > 0 && rows.every((row) => typeof (row[column] ?? 0) === 'number'));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const space = ' '.repeat(widths[column]! - width(cell));
        return numeric[column] ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  return [line(text[0]!), widths.map((columns) => '-'.repeat(columns)).join('  '), ...text.slice(1).map(line)].join('\n');
}
