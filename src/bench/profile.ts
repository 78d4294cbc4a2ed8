/**
 * Where a program spends its time: kernel calls timed on the device, the same work added up. Calls that a device joins into one launch have their time
 * at the call where it runs.
 */
import type { CallTime } from '../tensor/index.ts';
import { callBytes } from '../tensor/lower/program.ts';

export interface Share {
  /** The kernel, what it computes, and over which sizes. */
  label: string;
  calls: number;
  ms: number;
  /** Reached over all its calls. */
  gigabytesPerSecond: number;
  teraflops: number;
}

function labelOf({ call }: CallTime): string {
  const types = [...new Set([...call.reads, ...call.writes].map((v) => v.dtype))].join('+');
  const { attrs } = call;
  const size =
    'dims' in attrs
      ? attrs.dims.join('x')
      : 'm' in attrs
        ? `${'batch' in attrs ? `${attrs.batch.join('x')} ` : ''}${attrs.m}x${attrs.n}x${attrs.k}`
        : call.writes[0]!.shape.join('x');
  const what = call.label === call.kernel ? '' : ` ${call.label.length > 60 ? `${call.label.slice(0, 57)}...` : call.label}`;
  return `${call.kernel}${what} [${size}] ${types}`;
}

/** Calls of the same kernel, label and sizes as one, the longest first. */
export function shares(calls: readonly CallTime[]): Share[] {
  const found = new Map<string, { calls: number; ms: number; bytes: number; flops: number }>();
  for (const c of calls) {
    const label = labelOf(c);
    const s = found.get(label) ?? { calls: 0, ms: 0, bytes: 0, flops: 0 };
    found.set(label, { calls: s.calls + 1, ms: s.ms + c.ms, bytes: s.bytes + callBytes(c.call), flops: s.flops + c.call.flops });
  }
  return [...found]
    .map(([label, { calls: n, ms, bytes, flops }]) => ({
      label,
      calls: n,
      ms,
      gigabytesPerSecond: bytes / ms / 1e6,
      teraflops: flops / ms / 1e9,
    }))
    .sort((a, b) => b.ms - a.ms);
}

/** A table of the first `top` shares. */
export function showShares(list: readonly Share[], top = 40): string {
  const total = list.reduce((n, s) => n + s.ms, 0);
  const line = (s: Share): string =>
    `${s.ms.toFixed(3).padStart(8)} ms ${((100 * s.ms) / total).toFixed(1).padStart(5)} % ${String(s.calls).padStart(4)} x ${s.gigabytesPerSecond.toFixed(0).padStart(5)} GB/s ${s.teraflops.toPrecision(3).padStart(7)} TFLOP/s  ${s.label}`;
  const rest = list.slice(top);
  const tail = rest.length
    ? `\n${rest
        .reduce((n, s) => n + s.ms, 0)
        .toFixed(3)
        .padStart(8)} ms in ${rest.length} more`
    : '';
  return `${total.toFixed(3).padStart(8)} ms in ${list.reduce((n, s) => n + s.calls, 0)} calls\n${list.slice(0, top).map(line).join('\n')}${tail}`;
}
