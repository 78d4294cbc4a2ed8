/** Pointwise expressions in float64, element by element. */
import { fromBf16, fromF16, type Lane, toBf16, toF16 } from '../../tensor/dtype.ts';
import type { Expression, Step } from '../../tensor/lower/program.ts';
import { philox } from './philox.ts';

type Binary = (a: number, b: number) => number;
const floorDiv: Binary = (a, b) => (b === 0 ? 0 : Math.floor(a / b));
const floorMod: Binary = (a, b) => (b === 0 ? 0 : a - Math.floor(a / b) * b);

const pointwise: Record<string, (...xs: number[]) => number> = {
  neg: (x) => -x!,
  abs: (x) => Math.abs(x!),
  exp: (x) => Math.exp(x!),
  log: (x) => Math.log(x!),
  sqrt: (x) => Math.sqrt(x!),
  rsqrt: (x) => 1 / Math.sqrt(x!),
  sin: (x) => Math.sin(x!),
  cos: (x) => Math.cos(x!),
  tanh: (x) => Math.tanh(x!),
  erf: (x) => erf(x!),
  floor: (x) => Math.floor(x!),
  not: (x) => +!x,
  add: (a, b) => a! + b!,
  sub: (a, b) => a! - b!,
  mul: (a, b) => a! * b!,
  div: (a, b) => a! / b!,
  pow: (a, b) => a! ** b!,
  max: (a, b) => Math.max(a!, b!),
  min: (a, b) => Math.min(a!, b!),
  and: (a, b) => a! & b!,
  or: (a, b) => a! | b!,
  xor: (a, b) => a! ^ b!,
  // a count of 32 or more leaves nothing; JavaScript takes it modulo 32
  shl: (a, b) => (b! >>> 0 < 32 ? a! << b! : 0),
  shr: (a, b) => (b! >>> 0 < 32 ? (a! >>> b!) | 0 : 0),
  lt: (a, b) => +(a! < b!),
  le: (a, b) => +(a! <= b!),
  eq: (a, b) => +(a! === b!),
  where: (c, a, b) => (c ? a! : b!),
};

/** Floats saturate, and NaN becomes 0; an i64 loses its upper half. */
function convert(x: number, from: Lane, to: Lane): number {
  if (to === 'f32') return x;
  if (from === 'i64') return Number(BigInt.asIntN(32, BigInt(x)));
  if (Number.isNaN(x)) return 0;
  const limit = to === 'i32' ? 2 ** 31 : 2 ** 63;
  return Math.max(-limit, Math.min(to === 'i32' ? limit - 1 : limit, Math.trunc(x)));
}

function apply(step: Step, arg: (i: number) => number, flat: number): number {
  switch (step.op) {
    case 'const':
      return step.value;
    case 'index':
      return flat;
    case 'philox':
      return philox(arg(0), arg(1), flat);
    case 'convert':
      return convert(arg(0), step.from, step.to);
    case 'round':
      return step.to === 'bf16' ? fromBf16(toBf16(arg(0))) : fromF16(toF16(arg(0)));
  }
  const args = step.args.map((_, i) => arg(i)) as number[];
  if (step.lane === 'f32') return pointwise[step.op]!(...args);
  const [a, b] = args as [number, number];
  const x =
    step.op === 'div'
      ? floorDiv(a, b)
      : step.op === 'mod'
        ? floorMod(a, b)
        : step.op === 'mul' && step.lane === 'i32'
          ? Math.imul(a, b)
          : pointwise[step.op]!(...args);
  return step.lane === 'i32' ? x | 0 : x;
}

export function evaluate(e: Expression, load: (i: number) => number, flat: number): number[] {
  const values: number[] = [];
  for (let i = 0; i < e.loads; i++) values.push(load(i));
  for (const s of e.steps) values.push(apply(s, (i) => values[('args' in s ? s.args[i] : 0)!]!, flat));
  return e.results.map((r) => values[r]!);
}

/** The error function to float64 accuracy: its series near zero, the continued fraction of erfc beyond. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return x;
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-18 * sum || n < 4; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
      if (n > 200) break;
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 80; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}
