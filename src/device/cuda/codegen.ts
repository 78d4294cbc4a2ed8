/** Pointwise expressions as CUDA: maps and reductions are generated with their shapes as constants. */
import type { DType, Lane } from '../../tensor/dtype.ts';
import { itemSize, laneOf } from '../../tensor/dtype.ts';
import { type Expression, resultLane, type Step, type View } from '../../tensor/lower/program.ts';

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
const laneType: Record<Lane, string> = { f32: 'float', i32: 'int', i64: 'long long' };

const unary: Record<string, (x: string) => string> = {
  neg: (x) => `(-${x})`,
  exp: (x) => `expf(${x})`,
  log: (x) => `logf(${x})`,
  sqrt: (x) => `sqrtf(${x})`,
  rsqrt: (x) => `rsqrtf(${x})`,
  sin: (x) => `sinf(${x})`,
  cos: (x) => `cosf(${x})`,
  tanh: (x) => `tanhf(${x})`,
  erf: (x) => `erff(${x})`,
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
  if (op === 'shl') return `(${b} > 31 ? 0 : (int)((unsigned)${a} << ${b}))`;
  if (op === 'shr') return `(${b} > 31 ? 0 : (int)((unsigned)${a} >> ${b}))`;
  const sign = infix[op];
  if (!sign) throw new Error(`[cuda] no code for ${lane}.${op}`);
  return op === 'add' || op === 'sub'
    ? lane === 'i32'
      ? `(int)((unsigned)${a} ${sign} (unsigned)${b})`
      : `(${a} ${sign} ${b})`
    : `(${a} ${sign} ${b})`;
}

/** Statements that compute an expression; values are named `prefix0`, `prefix1`, ... by id, loads given by `load`. */
export function statements(e: Expression, prefix: string, load: (i: number) => { code: string; lane: Lane }, flat: string): string {
  const lines: string[] = [];
  const name = (id: number): string => `${prefix}${id}`;
  for (let i = 0; i < e.loads; i++) {
    const { code, lane } = load(i);
    lines.push(`${laneType[lane]} ${name(i)} = ${code};`);
  }
  e.steps.forEach((s, k) => {
    const args = 'args' in s ? s.args.map(name) : [];
    const lane = resultLane(s);
    const code =
      s.op === 'const'
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
                : operation(s, args);
    lines.push(`${laneType[lane]} ${name(e.loads + k)} = ${code};`);
  });
  return lines.join(' ');
}

/** Element offset of a view at coordinates c0, c1, ... */
export const offsetOf = (v: View): string =>
  v.strides
    .map((s, i) => (s === 0 ? '' : s === 1 ? `c${i}` : `c${i} * (long long)${s}`))
    .filter(Boolean)
    .join(' + ') || '0';

/** Declares the coordinates of element `flat` of a space. */
function coordinates(dims: readonly number[], flat: string): string {
  const index = dims.reduce((n, d) => n * d, 1) < 2 ** 31 ? 'unsigned' : 'unsigned long long';
  const lines = [`${index} rest = ${flat};`];
  for (let i = dims.length - 1; i > 0; i--) lines.push(`${index} c${i} = rest % ${dims[i]}u; rest /= ${dims[i]}u;`);
  lines.push(`${index} c0 = rest;`);
  return lines.join(' ');
}

export const pointers = (views: readonly View[], kind: string): string[] => views.map((v, i) => `${storageType[v.dtype]} *${kind}${i}`);

/** How many neighbours one thread computes: 4 where the innermost axis allows vector loads of every operand. */
export function vectorWidth(dims: readonly number[], views: readonly View[]): number {
  const last = dims.length - 1;
  const ok =
    dims[last]! % 4 === 0 &&
    views.every((v) => {
      const bytes = itemSize[v.dtype];
      return (
        (v.strides[last] === 1 && bytes <= 4 && v.offset % 4 === 0 && v.strides.every((s, i) => i === last || s % 4 === 0)) ||
        v.strides[last] === 0
      );
    });
  return ok ? 4 : 1;
}

/** A map kernel over `dims`. Launch with dims' elements / width threads. */
export function mapKernel(
  name: string,
  dims: readonly number[],
  e: Expression,
  reads: readonly View[],
  writes: readonly View[],
): { source: string; threads: number } {
  const views = [...reads, ...writes];
  const width = vectorWidth(dims, views);
  const n = dims.reduce((a, b) => a * b, 1);
  const last = dims.length - 1;
  const vectors = reads.map((v) => width > 1 && v.strides[last] === 1);
  const head = `if (t >= ${n / width}ull) return; ${coordinates(dims, `t * ${width}u`)}`;
  const loads = reads
    .map((v, i) =>
      vectors[i]
        ? `vec4<${storageType[v.dtype]}> a${i} = *(const vec4<${storageType[v.dtype]}> *)(in${i} + (${offsetOf(v)}));`
        : `${storageType[v.dtype]} a${i} = in${i}[${offsetOf(v)}];`,
    )
    .join(' ');
  const outs = width > 1 ? writes.map((v, i) => `vec4<${storageType[v.dtype]}> o${i};`).join(' ') : '';
  const body = statements(
    e,
    'v',
    (i) => ({ code: `load(${vectors[i] ? `a${i}.x[k]` : `a${i}`})`, lane: laneOf[reads[i]!.dtype] }),
    `(t * ${width}ull + k)`,
  );
  const results = writes
    .map((_, i) => (width > 1 ? `store(o${i}.x[k], v${e.results[i]});` : `store(out${i}[${offsetOf(writes[i]!)}], v${e.results[i]});`))
    .join(' ');
  const stores = width > 1 ? writes.map((v, i) => `*(vec4<${storageType[v.dtype]}> *)(out${i} + (${offsetOf(v)})) = o${i};`).join(' ') : '';
  const source = `extern "C" __global__ void __launch_bounds__(256) ${name}(${[...pointers(reads, 'in'), ...pointers(writes, 'out')].join(', ')}) {
  unsigned long long t = blockIdx.x * 256ull + threadIdx.x; ${head}
  ${loads} ${outs}
  #pragma unroll
  for (int k = 0; k < ${width}; k++) { ${body} ${results} }
  ${stores}
}`;
  return { source, threads: n / width };
}

/**
 * A reduction over [outer, count, inner]. inner = 1: a block a row. Otherwise 32 neighbouring columns by 8 rows of threads a block.
 * Every sum is taken in an order that depends on the shape alone.
 */
export function reduceKernel(
  name: string,
  attrs: { dims: readonly number[]; expression: Expression; op: 'sum' | 'max'; outer: number; count: number; inner: number },
  reads: readonly View[],
  write: View,
  arg: boolean,
): { source: string; grid: [number, number]; block: number } {
  const { dims, expression: e, op, outer, count, inner } = attrs;
  const result = e.results[0]!;
  const type = result < e.loads ? laneType[laneOf[reads[result]!.dtype]] : laneType[resultLane(e.steps[result - e.loads]!)];
  const load = (i: number): { code: string; lane: Lane } => ({
    code: `load(in${i}[${offsetOf(reads[i]!)}])`,
    lane: laneOf[reads[i]!.dtype],
  });
  const value = `[&](unsigned long long flat) -> ${type} { ${coordinates(dims, 'flat')} ${statements(e, 'v', load, 'flat')} return v${result}; }`;
  const params = [...pointers(reads, 'in'), ...pointers([write], 'out')].join(', ');
  const policy = arg ? `Arg<${type}>` : op === 'sum' ? `Sum<${type}>` : `Max<${type}>`;
  const rows = inner === 1;
  const block = rows ? (count >= 1024 ? 256 : count > 32 ? 128 : 32) : 256;
  const body = rows
    ? `reduce_row<${policy}, ${block}>(${value}, out0, ${count}ull);`
    : `reduce_columns<${policy}>(${value}, out0, ${count}ull, ${inner}ull);`;
  const source = `extern "C" __global__ void __launch_bounds__(${block}) ${name}(${params}) { ${body} }`;
  return { source, grid: rows ? [outer, 1] : [Math.ceil(inner / 32), outer], block };
}
