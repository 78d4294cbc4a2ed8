/** For tests of what programs become: the calls that a device is given, and how far its numbers are from the processor's. */
import * as t from '../../tensor/index.ts';
import type { AnyCall, Program } from '../../tensor/lower/program.ts';
import { ReferenceDevice } from '../index.ts';

type Tensor = t.Tensor;

/** The reference device, whose products end in whatever follows them; it keeps the calls that it was given. */
export class Watched extends ReferenceDevice {
  readonly calls: AnyCall[] = [];
  override prepare(program: Program): ReturnType<ReferenceDevice['prepare']> {
    this.calls.push(...program.calls);
    return super.prepare(program);
  }
}

/** The calls of a program on a watched device, and the greatest difference of its results from the processor's. */
export function watch(f: (...xs: Tensor[]) => Tensor | Tensor[], shapes: readonly t.Shape[]): { calls: readonly AnyCall[]; worst: number } {
  const inputs = shapes.map((shape, s) => Float32Array.from({ length: t.sizeOf(shape) }, (_, i) => Math.sin(7 * i + s)));
  const on = (device: t.Device): number[] => {
    const given = inputs.map((x, s) => t.tensor(x, { shape: shapes[s]!, device }));
    const results = t.compile((...xs: Tensor[]) => f(...xs), { device })(...given);
    return [results].flat().flatMap((r) => [...(r.data() as Iterable<number>)]);
  };
  const watched = new Watched();
  const [ours, theirs] = [on(watched), on(t.device('cpu'))];
  return { calls: watched.calls, worst: Math.max(...ours.map((x, i) => Math.abs(x - theirs[i]!))) };
}
