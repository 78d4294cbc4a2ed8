/** How results read that verbs share. */
import { printBytes } from '../bytes/index.ts';
import type { SkippedFile } from '../data/index.ts';
import type { Cost } from '../tasks/index.ts';
import { printable } from './output.ts';
import { duration } from './progress.ts';

/** '12 s; peak 34.9 MiB planned for tensors, 210.0 MiB measured for the process' */
export function costLine({ seconds, plannedPeakBytes, measuredPeakBytes }: Cost): string {
  const planned = plannedPeakBytes > 0 ? `${printBytes(plannedPeakBytes)} planned for tensors, ` : ''; // resumed behind the last step, nothing is planned
  return `${duration(seconds)}; peak ${planned}${printBytes(measuredPeakBytes)} measured for the process`;
}

/** Skipped files, the first few by name; nothing where there are none. */
export function skippedLines(skipped: readonly SkippedFile[], most = 10): string[] {
  if (skipped.length === 0) return [];
  const named = skipped.slice(0, most).map(({ path, reason }) => printable(`  ${path}: ${reason}`));
  return [
    `skipped ${skipped.length} unreadable:`,
    ...named,
    ...(skipped.length > most ? [`  and ${skipped.length - most} more (all with --json)`] : []),
  ];
}
