/** Pointwise expressions as CUDA statements. */
import type { DType, Lane } from '../../tensor/dtype.ts';
import { type Expression, resultLane, type Step } from '../../tensor/lower/program.ts';

export const storageType: Record<DType, string> = {
  f32: 'float',
  bf16: 'bf16',
  f16: 'f16',
  i32: 'int',
  i64: 'long long',
  u8: 'unsigned char',
  i8: 'signed char',
  bool: 'bool8',
};
export const laneType: Record<Lane, string> = { f32: 'float', i32: 'int', i64: 'long long' };

const unary: Record<string, (x: string) => string> = {
  neg: (x) => `(-${x})`,
  exp: (x) => `expf(${x})`,
  log: (x) => `logf(${x})`,
  sqrt: (x) => `sqrtf(${x})`,
  rsqrt: (x) => `rsqrtf(${x})`,
  sin: (x) => `sinf(${x})`,
  cos: (x) => `cosf(${x})`,
  tanh: (x) => `tanhf(${x})`,
  erf: (x) => `erf_ratio(${x})`,
  floor: (x) => `floorf(${x})`,
  not: (x) => `(${x} == 0)`,
};
const infix: Record<string, string> = { add: '+', sub: '-', and: '&', or: '|', xor: '^', lt: '<', le: '<=', eq: '==' };

export function constant(value: number, lane: Lane): string {
  if (lane !== 'f32') return lane === 'i64' ? `${Math.trunc(value)}ll` : `((int)${Math.trunc(value)}ll)`;
  if (Number.isNaN(value)) return '__int_as_float(0x7fc00000)';
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0]!;
  return `__uint_as_float(0x${bits.toString(16)}u)`;
}

function operation(step: Exclude<Step, { op: 'const' | 'index' | 'philox' | 'convert' | 'round' }>, args: readonly string[]): string {
  const { op, lane } = step;
  const [a, b, c] = args as [string, string, string];
  if (op === 'where') return `(${a} ? ${b} : ${c})`;
  if (op === 'abs') return lane === 'f32' ? `fabsf(${a})` : `abs(${a})`;
  if (op in unary) return unary[op]!(a);
  if (op === 'mul') return lane === 'i32' ? `(int)((unsigned)${a} * (unsigned)${b})` : `(${a} * ${b})`;
  if (op === 'div') return lane === 'f32' ? `(${a} / ${b})` : `floor_div(${a}, ${b})`;
  if (op === 'mod') return `floor_mod(${a}, ${b})`;
  if (op === 'max' || op === 'min') return lane === 'f32' ? `${op}_nan(${a}, ${b})` : `${op}(${a}, ${b})`;
  if (op === 'pow') return `powf(${a}, ${b})`;
  if (op === 'shl') return `((unsigned)${b} > 31 ? 0 : (int)((unsigned)${a} << ${b}))`;
  if (op === 'shr') return `((unsigned)${b} > 31 ? 0 : (int)((unsigned)${a} >> ${b}))`;
  const sign = infix[op];
  if (!sign) throw new Error(`[cuda] no code for ${lane}.${op}`);
  return op === 'add' || op === 'sub'
    ? lane === 'i32'
      ? `(int)((unsigned)${a} ${sign} (unsigned)${b})`
      : `(${a} ${sign} ${b})`
    : `(${a} ${sign} ${b})`;
}

/**
 * What is written for a tanh or an erf of which only the sum with 1 is read, or for a tanh also 1 - tanh^2, and for those, as in GELUs and their
 * derivatives: the sum takes half the instructions of the function, and does not lose the digits that an addition loses.
 */
function sumsWithOne({ loads, steps, results }: Expression, name: (id: number) => string): Map<number, string> {
  const written = new Map<number, string>();
  const isOne = (id: number): boolean => {
    const s = steps[id - loads];
    return s?.op === 'const' && s.value === 1;
  };
  /** Steps that read `id`; undefined if it is a result as well. */
  const readersOf = (id: number) =>
    results.includes(id)
      ? undefined
      : steps.flatMap((s, k) => ('args' in s && s.args.includes(id) ? [{ id: loads + k, op: s.op, args: s.args }] : []));
  steps.forEach((f, k) => {
    if (f.op !== 'tanh' && f.op !== 'erf') return;
    const y = loads + k;
    const readers = readersOf(y) ?? [];
    const sums = readers.filter(({ op, args }) => op === 'add' && args.some(isOne));
    const squares = readers.filter(({ op, args }) => f.op === 'tanh' && op === 'mul' && args[0] === args[1]);
    const slopes = squares.flatMap(({ id }) => readersOf(id) ?? [undefined]);
    if (!sums.length || sums.length + squares.length < readers.length) return;
    if (!slopes.every((s) => s?.op === 'sub' && isOne(s.args[0]!))) return;
    written.set(y, `one_plus_${f.op}(${name(f.args[0]!)})`);
    for (const { id } of squares) written.set(id, '0');
    for (const { id } of sums) written.set(id, name(y));
    for (const s of slopes) written.set(s!.id, `slope_of_tanh(${name(f.args[0]!)})`);
  });
  return written;
}

/** Statements that compute an expression; values are named `prefix0`, `prefix1`, ... by id, loads given by `load`. */
export function statements(e: Expression, prefix: string, load: (i: number) => { code: string; lane: Lane }, flat: string): string {
  const lines: string[] = [];
  const name = (id: number): string => `${prefix}${id}`;
  for (let i = 0; i < e.loads; i++) {
    const { code, lane } = load(i);
    lines.push(`${laneType[lane]} ${name(i)} = ${code};`);
  }
  const written = sumsWithOne(e, name);
  e.steps.forEach((s, k) => {
    const args = 'args' in s ? s.args.map(name) : [];
    const lane = resultLane(s);
    const code =
      written.get(e.loads + k) ??
      (s.op === 'const'
        ? constant(s.value, s.lane)
        : s.op === 'index'
          ? `(long long)(${flat})`
          : s.op === 'philox'
            ? `philox(${args[0]}, ${args[1]}, ${flat})`
            : s.op === 'convert'
              ? s.from === 'f32'
                ? `to_${s.to}(${args[0]})`
                : `(${laneType[s.to]})${args[0]}`
              : s.op === 'round'
                ? `rounded<${storageType[s.to]}>(${args[0]})`
                : operation(s, args));
    lines.push(`${laneType[lane]} ${name(e.loads + k)} = ${code};`);
  });
  return lines.join(' ');
}
