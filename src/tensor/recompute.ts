/** Memory for time: values that are computed again in the backward pass instead of being kept for it. */
import { barrier } from './functions/pointwise.ts';
import { backward, customVjp } from './grad.ts';
import type { Tensor } from './tensor.ts';
import { currentTrace } from './trace.ts';
import { leaves, mapTree } from './tree.ts';

/**
 * `f`, of which only the arguments are kept for the backward pass; all inside it is computed once more there (Chen et al. 2016, arXiv 1604.06174).
 * Results and gradients are those of `f`, bit for bit. `f` is a function of its arguments alone: other traced tensors that it uses get no
 * gradient, so pass the layer too, as in `recompute((block, x) => block.forward(x))(block, x)`.
 */
export function recompute<A extends unknown[]>(f: (...args: A) => Tensor): (...args: A) => Tensor {
  return (...args) => {
    if (!currentTrace()) return f(...args);
    const call = (tensors: readonly Tensor[]): Tensor => {
      let i = 0;
      return f(...mapTree(args, () => tensors[i++]));
    };
    const once = customVjp(
      (...tensors) => [call(tensors)],
      ([g], tensors) => {
        // behind a barrier, the second computation is not taken for the first
        const again = tensors.map(barrier);
        return backward(currentTrace()!, call(again), again, g);
      },
    );
    return once(...leaves(args))[0]!;
  };
}
