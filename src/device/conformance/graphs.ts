/**
 * Random programs, for properties of the compiler: a list of small numbers is read as instructions, each of which applies one function to
 * values made before. Every list is a valid program (what does not apply is left out), so that a failing one can be shortened.
 * Values stay within a few units, and only functions that are continuous in their floats are used, so that devices can be compared.
 */
import { evaluate } from '../../tensor/eager.ts';
import { is, reachable, type Value } from '../../tensor/graph.ts';
import * as t from '../../tensor/index.ts';
import { Trace, within } from '../../tensor/trace.ts';

type Tensor = t.Tensor;

/** One instruction: a function, its first operand, and a number that decides the rest. All are taken modulo what there is. */
export interface Instruction {
  f: number;
  x: number;
  n: number;
}

const MOST_ELEMENTS = 3000;
const MOST_AXES = 6;

/** Finds further operands among the values made so far. */
class Pool {
  readonly values: Tensor[];
  n = 0;
  constructor(inputs: readonly Tensor[]) {
    this.values = [...inputs];
  }
  /** A number below `limit`; digits of n, so that one n decides several things. */
  below(limit: number): number {
    const r = this.n % limit;
    this.n = Math.floor(this.n / limit);
    return r;
  }
  find(fits: (y: Tensor) => boolean): Tensor | undefined {
    const from = this.below(this.values.length);
    return [...this.values.slice(from), ...this.values.slice(0, from)].find(fits);
  }
  axis(x: Tensor): number {
    return this.below(x.rank);
  }
  /** Some axes, at least one. */
  axes(x: Tensor): number[] {
    const chosen = 1 + this.below(2 ** x.rank - 1);
    return x.shape.flatMap((_, i) => (chosen & (1 << i) ? [i] : []));
  }
}

function broadcasts(a: Tensor, b: Tensor): boolean {
  const rank = Math.max(a.rank, b.rank);
  let size = 1;
  for (let i = 1; i <= rank; i++) {
    const [p, q] = [a.shape.at(-i) ?? 1, b.shape.at(-i) ?? 1];
    if (i <= a.rank && i <= b.rank && p !== q && p !== 1 && q !== 1) return false;
    size *= p === 1 ? q : p;
  }
  return size <= MOST_ELEMENTS;
}

const isInt = (x: Tensor): boolean => x.dtype === 'i32';
const isFloat = (x: Tensor): boolean => x.dtype === 'f32';
const half = (x: Tensor): Tensor => t.mul(x, 0.5);

type Make = (x: Tensor, pool: Pool) => Tensor | undefined;
const withFloat =
  (f: (x: Tensor, y: Tensor) => Tensor): Make =>
  (x, pool) => {
    const y = pool.find((z) => isFloat(z) && broadcasts(x, z));
    return y && f(x, y);
  };
const ranked =
  (least: number, f: Make): Make =>
  (x, pool) =>
    x.rank >= least && x.size > 0 ? f(x, pool) : undefined;

/** Of any element type. */
const layouts: Make[] = [
  ranked(2, (x, p) => t.transpose(x, p.axis(x), p.axis(x))),
  ranked(1, (x) =>
    t.permute(
      x,
      x.shape.map((_, i) => x.rank - 1 - i),
    ),
  ),
  (x) => t.reshape(x, [-1]),
  ranked(2, (x, p) => {
    const a = p.below(x.rank - 1);
    return t.reshape(x, [...x.shape.slice(0, a), x.shape[a]! * x.shape[a + 1]!, ...x.shape.slice(a + 2)]);
  }),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    const d = x.shape[a]!;
    return d % 2 || x.rank >= MOST_AXES ? undefined : t.reshape(x, [...x.shape.slice(0, a), 2, d / 2, ...x.shape.slice(a + 1)]);
  }),
  (x, p) => (x.rank < MOST_AXES ? t.unsqueeze(x, p.below(x.rank + 1)) : undefined),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    const d = x.shape[a]!;
    const from = p.below(d + 1);
    return t.slice(x, ...x.shape.map((_, i) => (i === a ? ([from, d, 1 + p.below(3)] as const) : null)));
  }),
  ranked(1, (x, p) => t.flip(x, p.axes(x))),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    const sameBeside = (z: Tensor): boolean => z.rank === x.rank && z.shape.every((d, i) => i === a || d === x.shape[i]);
    const i = p.find((z) => isInt(z) && sameBeside(z));
    return i && t.takeAlong(x, t.mod(i, x.shape[a]!), a);
  }),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    const fits = (z: Tensor): boolean => z.rank === x.rank && z.shape.every((d, i) => (i === a ? d <= x.shape[a]! : d === x.shape[i]));
    const [y, at] = [p.find((z) => z !== x && z.dtype === x.dtype && fits(z)), p.find((z) => isInt(z) && z.size === 1)];
    return y && at && t.updateAt(x, y, t.mod(at, x.shape[a]! - y.shape[a]! + 1), a);
  }),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    const widths = x.shape.map((_, i) => (i === a ? 1 : 0));
    return t.pad(
      x,
      widths,
      widths.map((w) => w * p.below(3)),
      p.below(2),
    );
  }),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    const y = p.find((z) => z.dtype === x.dtype && z.rank === x.rank && z.shape.every((d, i) => i === a || d === x.shape[i]));
    return y && t.concat(p.below(2) ? [y, x, y] : [x, y], a);
  }),
  (x, p) => {
    const k = 1 + p.below(3);
    return x.rank < MOST_AXES && x.size * k <= MOST_ELEMENTS ? t.broadcastTo(x, [k, ...x.shape]) : undefined;
  },
  ranked(1, (x, p) => {
    const i = p.find((z) => isInt(z) && z.rank > 0 && z.size > 0 && z.size <= 12);
    return i && t.take(x, t.mod(t.reshape(i, [-1]), x.shape[0]!));
  }),
  ranked(1, (x) => {
    const a = x.shape.findIndex((d) => d % 2 === 0);
    return a < 0 ? undefined : t.concat(t.split(x, 2, a).reverse(), a);
  }),
];

/** Floats to floats, with derivatives everywhere. */
const smooth: Make[] = [
  t.tanh,
  t.sigmoid,
  t.sin,
  t.gelu,
  (x) => t.exp(t.tanh(x)),
  (x) => t.log(t.add(1.5, t.sin(x))),
  (x) => t.rsqrt(t.add(1, t.square(x))),
  (x) => t.erf(x),
  t.neg,
  withFloat((x, y) => half(t.add(x, y))),
  withFloat((x, y) => half(t.sub(x, y))),
  withFloat((x, y) => t.mul(x, t.tanh(y))),
  withFloat((x, y) => t.div(x, t.add(1.5, t.sin(y)))),
  (x, p) => t.add(t.mul(x, 0.5), p.below(5) - 2),
  ranked(1, (x, p) => t.mean(x, p.axis(x), { keepDims: p.below(2) === 1 })),
  ranked(2, (x, p) => t.mean(t.square(x), p.axes(x), { keepDims: p.below(2) === 1 })),
  (x) => t.mean(t.tanh(x)),
  ranked(1, (x, p) => {
    const a = p.axis(x);
    return t.mul(t.cumsum(x, a), 1 / Math.max(1, x.shape[a]!));
  }),
  ranked(2, (x, p) => {
    const y = p.find(
      (z) =>
        isFloat(z) &&
        z.rank >= 2 &&
        z.shape.at(-2) === x.shape.at(-1) &&
        (z.rank === 2 || (z.rank === x.rank && z.shape.slice(0, -2).join() === x.shape.slice(0, -2).join())) &&
        (x.size / x.shape.at(-1)!) * z.shape.at(-1)! <= MOST_ELEMENTS,
    );
    return y && t.mul(t.matmul(x, t.tanh(y)), 1 / x.shape.at(-1)!);
  }),
  ranked(2, (x) =>
    (x.size * x.shape.at(-2)!) / x.shape.at(-1)! <= MOST_ELEMENTS
      ? t.mul(t.matmul(x, t.transpose(t.tanh(x))), 1 / x.shape.at(-1)!)
      : undefined,
  ),
  ranked(1, (x) => t.softmax(x)),
  ranked(1, (x) => half(t.layerNorm(x, undefined, undefined, 0.1))),
  ranked(1, (x) => half(t.rmsNorm(x, undefined, 0.1))),
  ranked(1, (x, p) => t.mul(t.logSumExp(x, p.axis(x)), 0.25)),
  ranked(1, (x, p) => {
    const i = p.find((z) => isInt(z) && z.rank === 1 && z.size === x.shape[0]);
    return i && t.mul(t.scatterAdd(x, t.mod(i, 5), 5), 1 / x.shape[0]!);
  }),
  (x, p) => t.mul(x, t.random.uniform(t.random.key(p.below(50)), x.shape)),
  (x, p) => half(t.dropout(t.random.key(p.below(50)), x, 0.3)),
  (x, p) => {
    const c = p.find((z) => isInt(z) && broadcasts(x, z));
    return c && t.where(t.less(c, 3), x, t.mul(x, 0.25));
  },
  (x, p) => {
    const i = p.find((z) => isInt(z) && broadcasts(x, z));
    return i && t.mul(x, t.mul(t.cast(t.mod(i, 7), 'f32'), 0.2));
  },
  (x) => t.stopGradient(x),
  (x) => t.add(x, t.mul(t.iota(x.shape.at(-1) ?? 1, 'f32'), 0.01)),
];

/** Floats to floats, with kinks: for values, not for derivatives. */
const kinked: Make[] = [
  t.abs,
  t.relu,
  withFloat(t.maximum),
  withFloat(t.minimum),
  (x) => t.clamp(x, -0.5, 0.75),
  ranked(1, (x, p) => t.max(x, p.axes(x))),
  ranked(1, (x, p) => t.topK(x, 1 + p.below(x.shape.at(-1)!)).values),
  (x) => (x.size ? t.min(x) : undefined),
  ranked(1, (x) => t.sort(x).values),
];

const withInt =
  (f: (x: Tensor, y: Tensor) => Tensor): Make =>
  (x, pool) => {
    const y = pool.find((z) => isInt(z) && broadcasts(x, z));
    return y && f(x, y);
  };
/** i32 to anything, exact. */
const integers: Make[] = [
  withInt((x, y) => t.mod(t.add(x, y), 11)),
  withInt((x, y) => t.bitXor(t.bitAnd(x, 7), t.bitAnd(y, 15))),
  withInt((x, y) => t.cast(t.less(x, y), 'i32')),
  withInt((x, y) => t.where(t.equal(x, y), 1, t.maximum(x, y))),
  (x) => t.cast(t.cast(t.mul(x, 37), 'u8'), 'i32'),
  (x) => t.cast(t.cast(t.mul(x, 37), 'i8'), 'i32'),
  (x) => t.cast(t.mod(t.cast(x, 'i64'), 5), 'i32'),
  (x) => t.mul(t.cast(t.mod(x, 9), 'f32'), 0.125),
  ranked(1, (x, p) => t.argsort(x, { descending: p.below(2) === 1 })),
  ranked(1, (x, p) => t.argmax(x, p.axis(x))),
  ranked(1, (x, p) => t.mod(t.sum(x, p.axis(x)), 13)),
  ranked(1, (x, p) => t.mod(t.cumsum(x, p.axis(x)), 13)),
  (x) => t.shiftRight(t.shiftLeft(x, 3), 2),
];

/** The program of `code` over `inputs` (f32 and i32): all its values, inputs first. */
export function runInstructions(code: readonly Instruction[], inputs: readonly Tensor[], options: { smooth: boolean }): Tensor[] {
  const pool = new Pool(inputs);
  const floats = [...layouts, ...smooth, ...smooth, ...(options.smooth ? [] : kinked)];
  const ints = [...layouts, ...integers];
  for (const { f, x, n } of code) {
    // near operands more often than far ones, so that chains grow
    const operand = pool.values[Math.max(0, pool.values.length - 1 - (x % (pool.values.length + 2)))]!;
    const table = isFloat(operand) ? floats : ints;
    pool.n = n;
    const made = table[f % table.length]!(operand, pool);
    if (made && made.size <= MOST_ELEMENTS && made.rank <= MOST_AXES) pool.values.push(made);
  }
  return pool.values;
}

/** What `f` gives, one operation at a time, each a program of its own: nothing is fused, moved, shared or overwritten. */
export function interpret(f: (...xs: Tensor[]) => Tensor[], inputs: readonly Tensor[]): Tensor[] {
  const trace = new Trace();
  const arguments_ = inputs.map((x) => trace.input(x.type));
  const results = within(trace, () => f(...arguments_)).map((r) => trace.valueOf(r));
  const known = new Map<Value, Tensor>([...trace.captured].map(([x, v]) => [v, x]));
  for (const node of reachable(results)) {
    if (known.has(node.outputs[0]!)) continue;
    const made = is(node, 'input')
      ? [inputs[node.attrs.index]!]
      : evaluate(
          node.op,
          node.attrs,
          node.inputs.map((v) => known.get(v)!),
        );
    node.outputs.forEach((v, i) => {
      known.set(v, made[i]!);
    });
  }
  return results.map((r) => known.get(r)!);
}
