/** Pointwise cones -> expressions over loads. */
import { asKept, type DType, type Lane, laneOf } from '../dtype.ts';
import { is, type Value } from '../graph.ts';
import type { UnaryName } from '../ops.ts';
import { isPointwise } from './cluster.ts';
import type { Expression, Step } from './program.ts';

/** Arithmetic whose results can lie outside a narrow integer type that its operands are of; elsewhere they are wrapped by nobody but the store. */
const grows = new Set<string>(['add', 'sub', 'mul', 'div', 'neg', 'abs', 'shl', 'shr']);

const isNarrow = (dtype: DType): boolean => dtype === 'u8' || dtype === 'i8' || dtype === 'bool';

/** One load, as it is. */
export const COPY: Expression = { loads: 1, steps: [], results: [0] };

/** An expression and the values that its loads read (in the space of `results`). */
export function expressionOf(results: readonly Value[], stored: ReadonlySet<Value>): { expression: Expression; loads: Value[] } {
  const own = new Set(results);
  const loads: Value[] = [];
  const order: Value[] = [];
  const seen = new Set<Value>();
  const isLoad = (v: Value): boolean => !isPointwise(v.node) || (stored.has(v) && !own.has(v));
  const visit = (v: Value): void => {
    if (seen.has(v)) return;
    seen.add(v);
    if (isLoad(v)) {
      loads.push(v);
      return;
    }
    for (const i of v.node.inputs) v.node.op === 'randomBits' ? visitLoad(i) : visit(i);
    order.push(v);
  };
  const visitLoad = (v: Value): void => {
    if (!loads.includes(v)) loads.push(v);
    seen.add(v);
  };
  for (const v of results) visit(v);

  const steps: Step[] = [];
  const ids = new Map<Value, number>(loads.map((v, i) => [v, i]));
  const constants = new Map<string, number>();
  const push = (step: Step): number => loads.length + steps.push(step) - 1;
  const constant = (lane: Lane, value: number): number => {
    const key = `${lane}${Object.is(value, -0) ? '-0' : value}`;
    let id = constants.get(key);
    if (id === undefined) constants.set(key, (id = push({ op: 'const', lane, value })));
    return id;
  };
  const convert = (id: number, from: Lane, to: Lane): number => (from === to ? id : push({ op: 'convert', from, to, args: [id] }));

  /** What a store to `dtype` and a load back would do to a register, for conversions that stay in registers. */
  const wrap = (id: number, from: DType, dtype: DType): number => {
    const lane = laneOf[from];
    if (dtype === from) return id;
    if (dtype === 'bool') {
      const isZero = push({ op: 'eq', lane, args: [id, constant(lane, 0)] });
      return push({ op: 'not', lane: 'i32', args: [isZero] });
    }
    let x = convert(id, lane, laneOf[dtype]);
    if (dtype === 'bf16' || dtype === 'f16')
      return loads[x]?.type.dtype === dtype ? x : push({ op: 'round', lane: 'f32', to: dtype, args: [x] }); // what was loaded is one already
    if (dtype === 'u8' && from !== 'bool') x = push({ op: 'and', lane: 'i32', args: [x, constant('i32', 255)] });
    if (dtype === 'i8' && from !== 'bool') {
      x = push({ op: 'and', lane: 'i32', args: [x, constant('i32', 255)] });
      x = push({ op: 'xor', lane: 'i32', args: [x, constant('i32', 128)] });
      x = push({ op: 'sub', lane: 'i32', args: [x, constant('i32', 128)] });
    }
    return x;
  };

  for (const v of order) {
    const { node } = v;
    const args = node.inputs.map((i) => ids.get(i)!);
    const lane = laneOf[(node.inputs.at(-1) ?? v).type.dtype];
    let id: number;
    if (is(node, 'full')) id = constant(laneOf[v.type.dtype], asKept(node.attrs.value, v.type.dtype));
    else if (is(node, 'iota')) {
      const at = push({ op: 'index' });
      id = convert(at, 'i64', laneOf[node.attrs.dtype]);
    } else if (is(node, 'randomBits')) id = push({ op: 'philox', args: args as [number, number] });
    else if (is(node, 'cast')) id = wrap(args[0]!, node.inputs[0]!.type.dtype, node.attrs.dtype);
    else if (node.op === 'mod' && lane === 'f32') {
      const q = push({ op: 'floor', lane, args: [push({ op: 'div', lane, args })] });
      id = push({ op: 'sub', lane, args: [args[0]!, push({ op: 'mul', lane, args: [q, args[1]!] })] });
    } else if (node.op === 'not' && v.node.inputs[0]!.type.dtype !== 'bool')
      id = push({ op: 'eq', lane, args: [args[0]!, constant(lane, 0)] });
    else {
      // a register holds an i8 with its sign drawn out, and zeros come in from the left of 8 bits
      if (node.op === 'shr' && v.type.dtype === 'i8') args[0] = push({ op: 'and', lane, args: [args[0]!, constant(lane, 255)] });
      id = push({ op: node.op as UnaryName, lane, args });
      if (grows.has(node.op) && isNarrow(v.type.dtype)) id = wrap(id, 'i32', v.type.dtype);
    }
    ids.set(v, id);
  }
  return { expression: { loads: loads.length, steps, results: results.map((v) => ids.get(v)!) }, loads };
}
