/** Tracing: while a trace is open, operations add nodes to its graph; otherwise they run at once. */

import { checkTensors } from './arguments.ts';
import { evaluate } from './eager.ts';
import { Graph, type Value } from './graph.ts';
import type { OpAttrs, OpName } from './ops.ts';
import { Tensor } from './tensor.ts';

export class Trace {
  readonly graph = new Graph();
  /** Tensors with numbers that the traced function uses without being given them: they become inputs of the program. */
  readonly captured = new Map<Tensor, Value>();
  #inputs = 0;

  input(type: Tensor['type']): Tensor {
    return Tensor.traced(this, this.graph.add('input', { index: this.#inputs++, type }, []).outputs[0]!);
  }
  valueOf(t: Tensor): Value {
    const own = t.valueIn(this);
    if (own) return own;
    let value = this.captured.get(t);
    if (!value) {
      void t.storage; // a disposed tensor is refused here, where its user can be seen
      value = this.graph.add('input', { index: this.#inputs++, type: t.type }, []).outputs[0]!;
      this.captured.set(t, value);
    }
    return value;
  }
  wrap(value: Value): Tensor {
    return Tensor.traced(this, value);
  }
}

let open: Trace | undefined;

export const currentTrace = (): Trace | undefined => open;

/** Runs `body` with `trace` open (undefined: none, so that operations run at once). */
export function within<T>(trace: Trace | undefined, body: () => T): T {
  const before = open;
  open = trace;
  try {
    return body();
  } finally {
    open = before;
  }
}

/** Applies a primitive: all its results. */
export function applyAll<K extends OpName>(op: K, attrs: OpAttrs[K], inputs: readonly Tensor[]): Tensor[] {
  checkTensors(op, inputs);
  const trace = open;
  if (!trace) return evaluate(op, attrs, inputs);
  return trace.graph
    .add(
      op,
      attrs,
      inputs.map((t) => trace.valueOf(t)),
    )
    .outputs.map((v) => trace.wrap(v));
}

/** Applies a primitive: its first result. */
export function apply<K extends OpName>(op: K, attrs: OpAttrs[K], inputs: readonly Tensor[]): Tensor {
  return applyAll(op, attrs, inputs)[0]!;
}
