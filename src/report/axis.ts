/** Axes: from values to positions, and where the ticks stand. */
import { printBytes } from '../bytes/index.ts';

export type Unit = 'number' | 'bytes' | 'percent' | 'seconds';

export interface AxisSpec {
  label: string;
  /** Logarithmic: all values above 0. */
  log?: boolean;
  /** How ticks read: 'percent' shows a share of 1 as %, 'bytes' powers of 1000 (of 2 on a log axis). Default 'number'. */
  unit?: Unit;
  /** Ends to keep in view besides the data's. */
  include?: readonly number[];
}

export interface Axis {
  /** Position of a value, 0 (low end) to 1 (high end). */
  at(value: number): number;
  ticks: readonly { value: number; text: string }[];
}

/** 1, 2 or 5 times a power of ten: the smallest that makes at most `most` steps of `span`. */
function niceStep(span: number, most: number): number {
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10);
}

const sequence = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.max(0, Math.floor((to - from) / step + 1e-9) + 1) }, (_, index) => from + index * step);

/** Tick values of a log axis: powers of `base`, thinned, or 1-2-5 (1-2-4) steps between them where there are few. */
function logTicks(low: number, high: number, base: number, most: number): number[] {
  const [first, last] = [Math.ceil(Math.log(low) / Math.log(base) - 1e-9), Math.floor(Math.log(high) / Math.log(base) + 1e-9)];
  const powers = sequence(first, last, Math.max(1, Math.ceil((last - first + 1) / most))).map((power) => base ** power);
  if (powers.length >= 3 || base === 2) return powers;
  const between = sequence(first - 1, last, 1).flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));
  return between.filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
}

/** A value as its axis writes it; `step`, the distance of ticks, says how many decimals matter (a thousandth of the value unless given). */
export function unitText(value: number, unit: Unit, step?: number): string {
  const decimals = (scale: number): number => {
    const size = Math.max(step ?? Math.abs(value) / 1000, 1e-8) * scale;
    return Math.min(6, Math.max(0, -Math.floor(Math.log10(size) + 1e-9)));
  };
  switch (unit) {
    case 'bytes':
      return printBytes(value).replace('.0 ', ' ');
    case 'percent':
      return `${(value * 100).toFixed(decimals(100))} %`;
    case 'seconds':
      return value >= 120 ? `${+(value / 60).toPrecision(3)} min` : `${+value.toPrecision(3)} s`;
    default: {
      const size = Math.abs(value);
      if (size !== 0 && (size >= 1e6 || size < 1e-4)) return String(+value.toPrecision(3)).replace('e+', 'e');
      return Number.isInteger(value) && (step ?? 1) >= 1 ? value.toLocaleString('en') : value.toFixed(decimals(1));
    }
  }
}

/**
 * The axis for some values: their range with a little air, and at most `most` ticks.
 * @throws RangeError for no finite value, and for values of 0 or less on a log axis.
 */
export function axis({ label, log = false, unit = 'number', include = [] }: AxisSpec, values: readonly number[], most = 6): Axis {
  const all = [...values, ...include].filter(Number.isFinite);
  if (all.length === 0) throw new RangeError(`[report] the axis '${label}' has no finite value; leave the plot out`);
  let [low, high] = [Math.min(...all), Math.max(...all)];
  if (log && low <= 0)
    throw new RangeError(`[report] the log axis '${label}' has the value ${low}; drop values of 0 and less, or use a linear axis`);
  const [forth, back] = log ? [Math.log, Math.exp] : [(x: number) => x, (x: number) => x];
  const spread = forth(high) - forth(low);
  // Values that differ in their last digits only are drawn as equal ones: between them there is no number for a tick.
  const alike = spread <= 1e-9 * (log ? 1 : Math.max(Math.abs(low), Math.abs(high)));
  const air = alike ? (log ? 0.5 : Math.abs(low) * 0.1 || 1) : spread * 0.05;
  // No air below zero where all values are counts, sizes or shares.
  const floor = !log && low >= 0 ? 0 : Number.NEGATIVE_INFINITY;
  [low, high] = [Math.max(back(forth(low) - air), floor), back(forth(high) + air)];
  const base = unit === 'bytes' ? 2 : 10;
  const scale = unit === 'bytes' ? 1024 ** Math.floor(Math.log(Math.max(high, 1)) / Math.log(1024)) : 1;
  const step = niceStep((high - low) / scale, most) * scale;
  const ticks = log ? logTicks(low, high, base, most) : sequence(Math.ceil(low / step - 1e-9) * step, high, step);
  return {
    at: (value) => (forth(value) - forth(low)) / (forth(high) - forth(low)),
    ticks: ticks.map((value) => ({ value, text: unitText(value, unit, log ? value : step) })),
  };
}
