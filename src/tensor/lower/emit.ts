/** Units -> calls. Every value becomes a view of a buffer; a copy is made only where a kernel cannot read the view it is given. */

import type { Target } from '../device.ts';
import { type DType, itemSize } from '../dtype.ts';
import { is, type Node, type Value } from '../graph.ts';
import { ops } from '../ops.ts';
import { type Shape, sizeOf, stridesOf } from '../shape.ts';
import { emitAppend } from './append.ts';
import { type Fusion, isPointwise, isView, storedUnder, type Unit } from './cluster.ts';
import { joinSums, narrowBiases } from './epilogue.ts';
import { COPY, expressionOf } from './expression.ts';
import { joinGelus } from './gelu.ts';
import { emitNode } from './kernels.ts';
import type { Lowered } from './lower.ts';
import type { AnyCall, Call, CallAttrs, Expression, KernelName, View } from './program.ts';
import { emitSkinny } from './skinny.ts';
import { broadcastView, collapse, isContiguous, reshapeView, sliceView, viewOf } from './views.ts';

export class Emitter {
  readonly calls: AnyCall[] = [];
  readonly #bufferBytes: number[] = [];
  readonly #inputs = new Map<number, number>();
  readonly #views = new Map<Value, View>();
  /** Where a value should be written when something later wants it in place (a piece of a concat). */
  readonly #places = new Map<Value, () => View | undefined>();
  /** Products that are only read transposed: written so, what reads them finds rows. */
  readonly #transposed = new Set<Value>();
  readonly #fusion: Fusion;
  /** How many units have still to read a value. */
  readonly #readers = new Map<Value, number>();
  readonly #kept: ReadonlySet<Value>;

  readonly target: Target;

  /** @param kept values that outlive the program. */
  constructor(fusion: Fusion, nodes: readonly Node[], target: Target, kept: ReadonlySet<Value>) {
    this.#fusion = fusion;
    this.#kept = kept;
    for (const u of fusion.units) for (const v of u.reads) this.#readers.set(v, (this.#readers.get(v) ?? 0) + 1);
    this.target = target;
    const uses = new Map<Value, number>();
    for (const n of nodes) for (const v of n.inputs) uses.set(v, (uses.get(v) ?? 0) + 1);
    for (const n of nodes) {
      if (is(n, 'concat')) this.#placePieces(n, uses);
      const [x] = n.inputs;
      if (is(n, 'permute') && swapsMatrix(n.attrs.axes) && is(x!.node, 'matmul') && uses.get(x!) === 1) this.#transposed.add(x!);
    }
  }

  /** Lets the producers of a concat's operands write into it, where they have no other reader. */
  #placePieces(concat: Node<'concat'>, uses: ReadonlyMap<Value, number>): void {
    const { axis } = concat.attrs;
    let at = 0;
    for (const operand of concat.inputs) {
      const start = concat.outputs[0]!.type.shape.map((_, i) => (i === axis ? at : 0));
      at += operand.type.shape[axis]!;
      let v = operand;
      while (v.node.op === 'reshape' && uses.get(v) === 1) v = v.node.inputs[0]!;
      if (uses.get(v) !== 1 || v.node.op === 'input' || (isPointwise(v.node) ? !this.#fusion.stored.has(v) : !writesStrided.has(v.node.op)))
        continue;
      this.#places.set(v, () => {
        const whole = this.#views.get(concat.outputs[0]!) ?? this.allocate(concat.outputs[0]!);
        const step = start.map(() => 1);
        return reshapeView(sliceView(whole, { start, size: operand.type.shape, step }), v.type.shape);
      });
    }
  }

  newBuffer(bytes: number): number {
    return this.#bufferBytes.push(bytes) - 1;
  }
  /** A new contiguous buffer for a shape. */
  fresh(shape: Shape, dtype: DType): View {
    return { buffer: this.newBuffer(sizeOf(shape) * itemSize[dtype]), offset: 0, shape, strides: stridesOf(shape), dtype };
  }
  /** Where `v` is to be written. */
  allocate(v: Value, options: { strided?: boolean } = {}): View {
    const known = this.#views.get(v);
    if (known) return known;
    const placed = options.strided ? this.#places.get(v)?.() : undefined;
    const view =
      placed ??
      (this.#transposed.has(v) ? transposed(this.fresh(swapped(v.type.shape), v.type.dtype)) : this.fresh(v.type.shape, v.type.dtype));
    this.#views.set(v, view);
    return view;
  }
  /** Whether `v` was already written where it is wanted. */
  isAt(v: Value, view: View): boolean {
    const own = this.view(v);
    return own.buffer === view.buffer && own.offset === view.offset;
  }

  /** The view of a value that has been computed, or of an input. */
  view(v: Value): View {
    let view = this.#views.get(v);
    if (view) return view;
    const { node } = v;
    if (is(node, 'input')) {
      const buffer = this.newBuffer(v.type.bytes);
      this.#inputs.set(node.attrs.index, buffer);
      view = { buffer, offset: 0, shape: v.type.shape, strides: stridesOf(v.type.shape), dtype: v.type.dtype };
    } else if (isView(node)) {
      const x = this.view(node.inputs[0]!);
      view = viewOf(node, x) ?? (is(node, 'reshape') ? reshapeView(this.contiguous(x, 'reshape'), v.type.shape) : undefined);
    }
    if (!view) throw new Error(`[lower] ${node.op} ${v.type.key} is read before it is computed; please report this program`);
    this.#views.set(v, view);
    return view;
  }

  call<K extends KernelName>(
    kernel: K,
    attrs: CallAttrs[K],
    reads: readonly View[],
    writes: readonly View[],
    label: string,
    flops = 0,
  ): void {
    if (writes.every((w) => sizeOf(w.shape) === 0)) return; // nothing to compute
    const call = { kernel, attrs, reads, writes, label, flops } as Call<K> as AnyCall;
    const scratch = this.target.scratchBytes?.(call) ?? 0;
    this.calls.push(scratch ? { ...call, writes: [...writes, this.fresh([scratch], 'u8')] } : call);
  }

  /** A pointwise call over views of one shape. */
  map(expression: Expression, reads: readonly View[], writes: readonly View[], label: string): void {
    const { shape } = writes[0]!;
    const { dims, strides } = collapse(
      shape,
      [...reads, ...writes].map((v) => v.strides),
    );
    const small = (v: View, i: number): View => ({ ...v, shape: dims, strides: strides[i]! });
    this.call(
      'map',
      { dims, expression },
      reads.map(small),
      writes.map((v, i) => small(v, reads.length + i)),
      label,
      expression.steps.length * sizeOf(shape),
    );
  }

  copy(from: View, to: View, label: string): void {
    this.map(COPY, [from], [to], label);
  }
  contiguous(v: View, label: string): View {
    if (isContiguous(v)) return v;
    const out = this.fresh(v.shape, v.dtype);
    this.copy(v, out, label);
    return out;
  }

  /**
   * A buffer that holds x, to be changed into `out`: x's own when nothing reads it afterwards, otherwise a copy. The planner drops the copy
   * where x is a donated argument whose memory the result takes over.
   */
  takeOver(x: Value, out: Value): View {
    const under = storedUnder(x);
    const view = this.view(x);
    const own = under.node.op !== 'input' && !this.#kept.has(under) && this.#readers.get(under) === 1;
    if (own && isContiguous(view) && view.offset === 0 && this.#bufferBytes[view.buffer] === out.type.bytes) {
      this.#views.set(out, view);
      return view;
    }
    const to = this.allocate(out);
    this.copy(view, to, out.node.op);
    return to;
  }

  /** The loads of an expression as views in its iteration space (scalars are repeated). */
  loads(values: readonly Value[], shape: Shape): View[] {
    return values.map((v) => broadcastView(this.view(v), shape));
  }

  unit(unit: Unit): void {
    if (unit.append) emitAppend(this, unit, this.#fusion);
    else if (unit.skinny) emitSkinny(this, unit, this.#fusion);
    else if (unit.node) emitNode(this, unit.node, this.#fusion);
    else this.expression(unit.roots, this.#fusion);
    for (const v of unit.reads) this.#readers.set(v, this.#readers.get(v)! - 1);
  }
  /** A pointwise call that computes values of one shape. */
  expression(roots: readonly Value[], { stored }: Fusion): void {
    const { expression, loads } = expressionOf(roots, stored);
    const { shape } = roots[0]!.type;
    const writes = roots.map((r) => this.allocate(r, { strided: true }));
    this.map(expression, this.loads(loads, shape), writes, roots.map((r) => r.node.op).join('+'));
  }

  finish(results: readonly Value[]): Lowered {
    // Each result has memory of its own, so that any of them may be donated to a later call.
    const taken = new Set<number>();
    const buffers = results.map((v) => {
      const view = this.view(v);
      if (isContiguous(view) && view.offset === 0 && this.#bufferBytes[view.buffer] === v.type.bytes && !taken.has(view.buffer)) {
        taken.add(view.buffer);
        return view.buffer;
      }
      const own = this.fresh(v.type.shape, v.type.dtype);
      if (v.type.size) this.copy(view, own, 'result');
      return own.buffer;
    });
    const kept = new Set(buffers);
    const joined = joinGelus(joinSums(this.calls, kept, this.target), kept, this.target);
    const calls = narrowBiases(joined, (shape, dtype) => this.fresh(shape, dtype));
    return { calls, bufferBytes: this.#bufferBytes, inputs: this.#inputs, results: buffers };
  }
}

/** Whether an order of axes exchanges the last two and nothing else. */
const swapsMatrix = (axes: readonly number[]): boolean => axes.length > 1 && axes.every((a, i) => a === swapped([...axes.keys()])[i]);
const swapped = (xs: readonly number[]): number[] => [...xs.slice(0, -2), xs.at(-1)!, xs.at(-2)!];
/** A view with the last two axes exchanged. */
export const transposed = (v: View): View => ({ ...v, shape: swapped(v.shape), strides: swapped(v.strides) });

const writesStrided = new Set(['attentionGrad', 'matmul']);
export const flopsOf = (node: Node): number =>
  (ops[node.op].flops as (a: unknown, i: unknown, o: unknown) => number)(
    node.attrs,
    node.inputs.map((v) => v.type),
    node.outputs.map((v) => v.type),
  );
