/** Finds the first call of a program that makes a NaN or an infinity. */
import { decode, isFloat } from '../tensor/dtype.ts';
import type { AnyCall, Program, View } from '../tensor/lower/program.ts';

/** An infinity that the program asks for (an attention mask) is no accident. */
function wantsInfinity(call: AnyCall): boolean {
  return call.kernel === 'map' && call.attrs.expression.steps.some((s) => s.op === 'const' && !Number.isFinite(s.value));
}

function holdsNonFinite(view: View, bytes: Uint8Array, infinityToo: boolean): boolean {
  const data = decode(bytes, view.dtype);
  const bad = (x: number): boolean => Number.isNaN(x) || (infinityToo && !Number.isFinite(x));
  const walk = (axis: number, at: number): boolean => {
    if (axis === view.shape.length) return bad(data[at]!);
    for (let i = 0; i < view.shape[axis]!; i++) if (walk(axis + 1, at + i * view.strides[axis]!)) return true;
    return false;
  };
  return walk(0, view.offset);
}

/** Runs call after call; returns the index of the first with a float result that is not finite, or -1. */
export function firstNonFinite(program: Program, run: (call: number) => void, read: (view: View) => Uint8Array): number {
  for (let i = 0; i < program.calls.length; i++) {
    run(i);
    const call = program.calls[i]!;
    for (const w of call.writes) if (isFloat(w.dtype) && holdsNonFinite(w, read(w), !wantsInfinity(call))) return i;
  }
  return -1;
}
