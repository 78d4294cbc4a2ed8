/** From a function of tensors to a program, without compiling it for a device: to look at the program, or to time it. */
import { type Assembled, assemble } from './assemble.ts';
import type { Target } from './device.ts';
import type { TensorType } from './shape.ts';
import type { Tensor } from './tensor.ts';
import { Trace, within } from './trace.ts';

/**
 * The program of `f` for arguments of `types`; tensors that it captures are inputs behind them.
 * @param donated arguments whose memory may be reused.
 */
export function assembleTraced(
  target: Target,
  f: (...xs: Tensor[]) => readonly Tensor[],
  types: readonly TensorType[],
  donated: readonly number[] = [],
): Assembled {
  const trace = new Trace();
  const inputs = types.map((type) => trace.input(type));
  const results = within(trace, () => f(...inputs)).map((y) => trace.valueOf(y));
  return assemble(target, results, [...types, ...[...trace.captured.keys()].map((x) => x.type)], new Set(donated));
}
