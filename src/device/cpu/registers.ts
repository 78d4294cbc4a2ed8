/** Expressions -> the instructions of the tile interpreter: opcode selection, multiply-add contraction, register allocation. */
import type { Lane } from '../../tensor/dtype.ts';
import { type Expression, resultLane, type Step } from '../../tensor/lower/program.ts';

// In the order of the enums in native/thimble.h.
const f32 = [
  'add',
  'sub',
  'mul',
  'div',
  'max',
  'min',
  'pow',
  'neg',
  'abs',
  'exp',
  'log',
  'sqrt',
  'rsqrt',
  'sin',
  'cos',
  'tanh',
  'erf',
  'floor',
  'lt',
  'le',
  'eq',
  'where',
  'fma',
  'roundbf16',
  'roundf16',
];
const i32 = [
  'add',
  'sub',
  'mul',
  'div',
  'mod',
  'max',
  'min',
  'neg',
  'abs',
  'lt',
  'le',
  'eq',
  'where',
  'and',
  'or',
  'xor',
  'shl',
  'shr',
  'not',
];
const i64 = ['add', 'sub', 'mul', 'div', 'mod', 'max', 'min', 'neg', 'abs', 'lt', 'le', 'eq', 'where'];
const convert = ['f32i32', 'f32i64', 'i32f32', 'i32i64', 'i64i32', 'i64f32'];
const opcodes = new Map<string, number>(
  [...f32.map((op) => `f32.${op}`), ...i32.map((op) => `i32.${op}`), ...i64.map((op) => `i64.${op}`), ...convert, 'index', 'philox'].map(
    (name, i) => [name, i],
  ),
);

const MAX_REGISTERS = 40;
const laneCode: Record<Lane, bigint> = { f32: 0n, i32: 1n, i64: 2n };

export interface Instructions {
  constants: bigint[];
  constantTypes: bigint[];
  code: bigint[];
  /** Register of each result. */
  results: number[];
}

type Operation = Exclude<Step, { op: 'const' }> | { op: 'fma'; lane: 'f32'; args: number[] };

function argsOf(step: Operation): readonly number[] {
  return step.op === 'index' ? [] : step.args;
}

function opcode(step: Operation): number {
  const name =
    step.op === 'index' || step.op === 'philox'
      ? step.op
      : step.op === 'convert'
        ? `${step.from}${step.to}`
        : `${step.lane}.${step.op}${step.op === 'round' ? step.to : ''}`;
  const code = opcodes.get(name);
  if (code === undefined) throw new Error(`[cpu] no instruction for ${name}; cast the operands to f32 or i32`);
  return code;
}

const bits = new DataView(new ArrayBuffer(8));
function doubleBits(x: number): bigint {
  bits.setFloat64(0, x);
  return bits.getBigInt64(0);
}

/** a*b + c in one instruction where the product has no other use; the sum is then rounded once. */
function contract(expression: Expression): Map<number, Operation> {
  const uses = new Map<number, number>();
  const count = (id: number): void => {
    uses.set(id, (uses.get(id) ?? 0) + 1);
  };
  for (const s of expression.steps) if ('args' in s) s.args.forEach(count);
  expression.results.forEach(count);
  const at = (id: number): Step | undefined => expression.steps[id - expression.loads];
  const out = new Map<number, Operation>();
  expression.steps.forEach((step, i) => {
    if (step.op === 'const') return;
    const id = expression.loads + i;
    out.set(id, step);
    if (step.op !== 'add' || step.lane !== 'f32') return;
    for (const [p, c] of [
      [step.args[0]!, step.args[1]!],
      [step.args[1]!, step.args[0]!],
    ] as const) {
      const product = at(p);
      if (product?.op !== 'mul' || uses.get(p) !== 1) continue;
      out.set(id, { op: 'fma', lane: 'f32', args: [...product.args, c] });
      out.delete(p);
      return;
    }
  });
  return out;
}

export function instructions(expression: Expression): Instructions {
  const operations = contract(expression);
  const used = new Set<number>(expression.results);
  for (const s of operations.values()) for (const a of argsOf(s)) used.add(a);

  const register = new Map<number, number>();
  for (let i = 0; i < expression.loads; i++) register.set(i, i);
  const constants: bigint[] = [];
  const constantTypes: bigint[] = [];
  expression.steps.forEach((s, i) => {
    const id = expression.loads + i;
    if (s.op !== 'const' || !used.has(id)) return;
    register.set(id, expression.loads + constants.length);
    constants.push(s.lane === 'f32' ? doubleBits(s.value) : BigInt(Math.trunc(s.value)));
    constantTypes.push(laneCode[s.lane]);
  });

  const lastUse = new Map<number, number>();
  for (const [id, s] of operations) for (const a of argsOf(s)) lastUse.set(a, id);
  for (const r of expression.results) lastUse.set(r, Number.POSITIVE_INFINITY);
  const firstTemporary = expression.loads + constants.length;
  // a register serves one type only: a kernel asks the registers what type a result has
  const free: Record<Lane, number[]> = { f32: [], i32: [], i64: [] };
  const laneOfRegister = new Map<number, Lane>();
  let next = firstTemporary;
  const code: bigint[] = [];
  for (const [id, s] of operations) {
    const args = argsOf(s).map((a) => register.get(a)!);
    const lane = s.op === 'fma' ? s.lane : resultLane(s);
    const dst = free[lane].pop() ?? next++;
    laneOfRegister.set(dst, lane);
    if (dst >= MAX_REGISTERS)
      throw new Error(
        `[cpu] an expression of ${expression.steps.length} steps needs more than ${MAX_REGISTERS} registers; please report this program`,
      );
    for (const a of new Set(argsOf(s))) {
      const r = register.get(a)!;
      if (lastUse.get(a) === id && r >= firstTemporary) free[laneOfRegister.get(r)!].push(r);
    }
    register.set(id, dst);
    if (!lastUse.has(id)) free[lane].push(dst);
    const [a = dst, b = a, c = b] = args;
    code.push(BigInt(opcode(s)) | (BigInt(dst) << 8n) | (BigInt(a) << 16n) | (BigInt(b) << 24n) | (BigInt(c) << 32n));
  }
  return { constants, constantTypes, code, results: expression.results.map((r) => register.get(r)!) };
}
