/** How results read that verbs share. */
import { printBytes } from '../bytes/index.ts';
import type { SkippedFile } from '../data/index.ts';
import type { Cost } from '../tasks/index.ts';
import { duration } from './progress.ts';

/** '12 s; peak 34.9 MiB planned for tensors, 210.0 MiB measured for the process' */
export function costLine({ seconds, plannedPeakBytes, measuredPeakBytes }: Cost): string {
  return `${duration(seconds)}; peak ${printBytes(plannedPeakBytes)} planned for tensors, ${printBytes(measuredPeakBytes)} measured for the process`;
}

/** Skipped files, the first few by name; nothing where there are none. */
export function skippedLines(skipped: readonly SkippedFile[], most = 10): string[] {
  if (skipped.length === 0) return [];
  const named = skipped.slice(0, most).map(({ path, reason }) => `  ${path}: ${reason}`);
  return [
    `skipped ${skipped.length} unreadable:`,
    ...named,
    ...(skipped.length > most ? [`  and ${skipped.length - most} more (all with --json)`] : []),
  ];
}
