/** Elementwise functions. Operands are tensors or JavaScript numbers; shapes broadcast as in NumPy, dtypes meet by `promote`. */
import { checkList, checkTensors } from '../arguments.ts';
import { withDevice } from '../device.ts';
import { asKept, type DType, isFloat, promote } from '../dtype.ts';
import { type BinaryName, bitOps, type CompareName, type UnaryName } from '../ops.ts';
import { broadcastShapes, type Shape, sameShape } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { apply } from '../trace.ts';

export type Operand = Tensor | number;

/** A tensor filled with one number; costs no memory inside a compiled function. */
export function full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  if (typeof value !== 'number' && typeof value !== 'boolean') throw new TypeError(`[full] ${String(value)} is no number; give one`);
  return apply('full', { shape, value, dtype }, []);
}
export const zeros = (shape: Shape, dtype: DType = 'f32'): Tensor => full(shape, 0, dtype);
export const ones = (shape: Shape, dtype: DType = 'f32'): Tensor => full(shape, 1, dtype);
export function zerosLike(x: Tensor): Tensor {
  checkTensors('zerosLike', [x]);
  return full(x.shape, 0, x.dtype);
}

/** 0, 1, ..., size-1. */
export const iota = (size: number, dtype: 'i32' | 'i64' | 'f32' = 'i32'): Tensor => apply('iota', { size, dtype }, []);

/**
 * The same numbers in another type. To bf16 and f16 they are rounded to nearest even, also where the result never leaves its kernel: a cast
 * there and back is a rounding, compiled or not. Arithmetic on halves has no such steps: inside one kernel it is f32.
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkTensors('cast', [x]);
  return x.dtype === dtype ? x : apply('cast', { dtype }, [x]);
}

export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  checkTensors('broadcastTo', [x]);
  checkList('broadcastTo', 'sizes', shape);
  return sameShape(x.shape, shape) ? x : apply('broadcast', { shape }, [x]);
}

/** Whether an integer type holds a number; bits are written as signed or as unsigned numbers. */
const holds = (op: string, dtype: DType, n: number): boolean =>
  asKept(n, dtype) === n || (dtype === 'i32' && bitOps.has(op) && asKept(n, dtype) >>> 0 === n);

/** Numbers take the dtype of the tensors beside them; a fraction beside integers makes f32, and what an integer type does not hold makes i32 or i64. */
function toTensors(op: string, xs: readonly Operand[]): Tensor[] {
  checkTensors(op, xs, true);
  const tensors = xs.filter((x) => x instanceof Tensor);
  const numbers = xs.filter((x) => typeof x === 'number');
  let dtype: DType = tensors.length ? tensors.map((t) => t.dtype).reduce(promote) : 'f32';
  if (!isFloat(dtype) && numbers.some((n) => !Number.isInteger(n))) dtype = 'f32';
  for (const wider of ['i32', 'i64'] as const)
    if (!isFloat(dtype) && numbers.some((n) => dtype === 'bool' || !holds(op, dtype, n))) dtype = promote(dtype, wider);
  const make = (): Tensor[] => xs.map((x) => (x instanceof Tensor ? cast(x, dtype) : full([], x, dtype)));
  const [first] = tensors;
  return first && !first.isTraced ? withDevice(first.storage.device, make) : make(); // numbers go where the tensors are
}

function meet(op: string, xs: readonly Operand[]): Tensor[] {
  const ts = toTensors(op, xs);
  const shape = ts.map((t) => t.shape).reduce((a, b) => broadcastShapes(op, a, b));
  return ts.map((t) => broadcastTo(t, shape));
}

const unary =
  (op: UnaryName) =>
  (x: Tensor): Tensor =>
    apply(op, {}, [x]);
const binary =
  (op: BinaryName | CompareName) =>
  (a: Operand, b: Operand): Tensor =>
    apply(op, {}, meet(op, [a, b]));

export const neg = unary('neg');
export const abs = unary('abs');
export const exp = unary('exp');
export const log = unary('log');
export const sqrt = unary('sqrt');
/** 1 / sqrt(x). */
export const rsqrt = unary('rsqrt');
export const sin = unary('sin');
export const cos = unary('cos');
export const tanh = unary('tanh');
/** The error function. */
export const erf = unary('erf');
export const floor = unary('floor');
/** Logical not of bool or integers. */
export const not = unary('not');

export const add = binary('add');
export const sub = binary('sub');
export const mul = binary('mul');
/** Quotient; integers floor, and x/0 is 0. */
export const div = binary('div');
/** Elementwise maximum; NaN wins. */
export const maximum = binary('max');
export const minimum = binary('min');
export const pow = binary('pow');
/** Remainder with the sign of the divisor, as in Python. */
export const mod = binary('mod');
export const bitAnd = binary('and');
export const bitOr = binary('or');
export const bitXor = binary('xor');
export const shiftLeft = binary('shl');
/** Logical shift: zeros come in from the left. */
export const shiftRight = binary('shr');
export const less = binary('lt');
export const lessEqual = binary('le');
export const equal = binary('eq');
export const greater = (a: Operand, b: Operand): Tensor => less(b, a);
export const greaterEqual = (a: Operand, b: Operand): Tensor => lessEqual(b, a);

/** `condition ? a : b` per element, for a condition of bool or integers. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkTensors('where', [condition]);
  const [x, y] = meet('where', [a, b]) as [Tensor, Tensor];
  const shape = broadcastShapes('where', condition.shape, x.shape);
  const c = condition.dtype === 'i64' ? cast(condition, 'bool') : condition; // devices ask a register of 32 bits
  return apply('where', {}, [broadcastTo(c, shape), broadcastTo(x, shape), broadcastTo(y, shape)]);
}

export const square = (x: Tensor): Tensor => mul(x, x);
export const clamp = (x: Tensor, low: number, high: number): Tensor => minimum(maximum(x, low), high);
/** max(x, 0), with derivative 0 at 0. */
export const relu = (x: Tensor): Tensor => where(lessEqual(x, 0), 0, x);
export const sigmoid = (x: Tensor): Tensor => div(1, add(1, exp(neg(x))));
/** x * sigmoid(x), also called swish. */
export const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));
/** x * Phi(x) with the exact normal distribution function (Hendrycks and Gimpel 2016, arXiv 1606.08415). */
export const gelu = (x: Tensor): Tensor => mul(mul(x, 0.5), add(1, erf(mul(x, Math.SQRT1_2))));
/** The tanh approximation of GELU (same paper, eq. in section 2). */
export const geluTanh = (x: Tensor): Tensor =>
  mul(mul(x, 0.5), add(1, tanh(mul(Math.sqrt(2 / Math.PI), add(x, mul(0.044715, mul(x, mul(x, x))))))));
/** log(1 + exp(x)) without overflow. */
export const softplus = (x: Tensor): Tensor => add(maximum(x, 0), log(add(1, exp(neg(abs(x))))));
/** Linear interpolation a + (b - a) t. */
export const lerp = (a: Operand, b: Operand, t: Operand): Tensor => add(a, mul(sub(b, a), t));

/** The same numbers; no gradient passes. */
export const stopGradient = (x: Tensor): Tensor => apply('stopGradient', {}, [x]);
/**
 * The same numbers, computed and stored before anything that reads them here: neither fused with what follows nor shared with an equal
 * expression elsewhere. For sums that should not wait for their last term, and for values that are to be computed again.
 */
export const barrier = (x: Tensor): Tensor => apply('barrier', {}, [x]);
