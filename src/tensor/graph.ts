/** Programs while they are being built: nodes in the order of their creation, which is a topological order. */
import { type OpAttrs, type OpName, ops } from './ops.ts';
import type { TensorType } from './shape.ts';

/** One result of a node. */
export interface Value {
  readonly node: Node;
  readonly index: number;
  readonly type: TensorType;
}

export interface Node<K extends OpName = OpName> {
  readonly id: number;
  readonly op: K;
  readonly attrs: OpAttrs[K];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

export const is = <K extends OpName>(node: Node, op: K): node is Node<K> => node.op === op;

/** A growing list of nodes. */
export class Graph {
  readonly nodes: Node[] = [];

  add<K extends OpName>(op: K, attrs: OpAttrs[K], inputs: readonly Value[]): Node<K> {
    const types = ops[op].infer(
      attrs as never,
      inputs.map((v) => v.type),
    );
    const outputs: Value[] = [];
    const node: Node<K> = { id: this.nodes.length, op, attrs, inputs, outputs };
    types.forEach((type, index) => {
      outputs.push({ node: node as Node, index, type });
    });
    this.nodes.push(node as Node);
    return node;
  }
}

/** The nodes that `results` depend on, in order. */
export function reachable(results: readonly Value[]): Node[] {
  const seen = new Set<Node>();
  const stack = results.map((v) => v.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const v of node.inputs) stack.push(v.node);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}
