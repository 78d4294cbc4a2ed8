/**
 * Trees: tensors inside plain objects, arrays and class instances. Models, optimiser states and batches are trees; everything that is
 * not a tensor (numbers, strings, functions) is part of the structure.
 */
import { Tensor } from './tensor.ts';

export type Path = readonly (string | number)[];
type Container = { [key: string]: unknown };

/** Whether it is a branch of a tree: its fields are looked into. */
export const isContainer = (x: unknown): x is Container =>
  typeof x === 'object' && x !== null && !ArrayBuffer.isView(x) && !(x instanceof Map) && !(x instanceof Set);

/** The level at which a walk makes sure that it does not go round in circles. */
const DEEP = 500;

/** @throws TypeError for a branch that is part of itself */
function refuseCycle(branch: unknown, path: Path = [], above: readonly unknown[] = []): void {
  if (branch instanceof Tensor || !isContainer(branch)) return;
  const start = above.indexOf(branch);
  if (start >= 0)
    throw new TypeError(
      `[tree] an object contains itself, as its '${path.slice(start).join('.')}'; keep such a reference in a Map, which a tree passes on as it is`,
    );
  for (const k of Object.keys(branch)) refuseCycle(branch[k], [...path, k], [...above, branch]);
}

/** Calls `visit` for every tensor, in the order of the fields. @throws TypeError, as all walks, where an object contains itself */
export function forEachTensor(tree: unknown, visit: (t: Tensor, path: Path) => void, path: Path = []): void {
  if (path.length === DEEP) refuseCycle(tree);
  if (tree instanceof Tensor) visit(tree, path);
  else if (Array.isArray(tree)) for (let i = 0; i < tree.length; i++) forEachTensor(tree[i], visit, [...path, i]);
  else if (isContainer(tree)) for (const k of Object.keys(tree)) forEachTensor(tree[k], visit, [...path, k]);
}

/** All tensors, in the order of the fields. */
export function leaves(tree: unknown): Tensor[] {
  const out: Tensor[] = [];
  collect(tree, out, 0);
  return out;
}
function collect(tree: unknown, out: Tensor[], depth: number): void {
  if (depth === DEEP) refuseCycle(tree);
  if (tree instanceof Tensor) out.push(tree);
  else if (Array.isArray(tree)) for (const x of tree) collect(x, out, depth + 1);
  else if (isContainer(tree)) for (const k in tree) if (Object.hasOwn(tree, k)) collect(tree[k], out, depth + 1);
}

/**
 * The same tree with every tensor replaced. Further trees of the same structure are walked along (a missing branch gives undefined).
 * Class instances keep their prototype, but no #private fields, which nobody else can copy.
 */
export function mapTree<T>(tree: T, f: (t: Tensor, path: Path, ...others: (Tensor | undefined)[]) => unknown, ...others: unknown[]): T {
  const walk = (x: unknown, path: Path, rest: readonly unknown[]): unknown => {
    if (path.length === DEEP) refuseCycle(x);
    if (x instanceof Tensor) return f(x, path, ...(rest as (Tensor | undefined)[]));
    const at = (k: string | number): unknown[] => rest.map((r) => (r as Container | undefined)?.[k]);
    if (Array.isArray(x)) return x.map((v, i) => walk(v, [...path, i], at(i)));
    if (!isContainer(x)) return x;
    const out = Object.create(Object.getPrototypeOf(x)) as Container;
    for (const k of Object.keys(x)) out[k] = walk(x[k], [...path, k], at(k));
    return out;
  };
  return walk(tree, [], others) as T;
}

/** 'blocks.0.attention.query' -> tensor, for saving and for naming parameters. */
export function flatten(tree: unknown): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  forEachTensor(tree, (t, path) => {
    out.set(path.join('.'), t);
  });
  return out;
}

/** Puts tensors back by name; a missing or misshaped one is an error that names it. */
export function unflatten<T>(template: T, tensors: ReadonlyMap<string, Tensor>): T {
  return mapTree(template, (t, path) => {
    const name = path.join('.');
    const found = tensors.get(name);
    if (!found)
      throw new Error(
        `[tree] tensor '${name}' ${t.type.key} is missing; present: ${[...tensors.keys()].slice(0, 5).join(', ')}${tensors.size > 5 ? ', ...' : ''}`,
      );
    if (found.type !== t.type) throw new Error(`[tree] tensor '${name}' is ${found.type.key}, the model needs ${t.type.key}`);
    return found;
  });
}

/** Frees all tensors of a tree. */
export function disposeTree(tree: unknown): void {
  for (const t of leaves(tree)) t.dispose();
}

/** The structure of a tree as a string: equal strings mean that a compiled program fits (up to tensor types). */
export function structure(tree: unknown): string {
  if (tree instanceof Tensor) return '*';
  if (Array.isArray(tree)) return `[${tree.map(structure).join()}]`;
  if (isContainer(tree)) {
    const prototype: unknown = Object.getPrototypeOf(tree);
    const fields = Object.keys(tree).map((k) => `${JSON.stringify(k)}:${structure(tree[k])}`);
    return `${prototype === null ? '' : identityOf(prototype as object)}{${fields.join()}}`;
  }
  if (typeof tree === 'function' || (typeof tree === 'object' && tree !== null)) return `#${identityOf(tree)}`;
  if (typeof tree === 'string') return JSON.stringify(tree);
  return Object.is(tree, -0) ? '-0' : typeof tree === 'bigint' ? `${tree}n` : String(tree);
}

const identities = new WeakMap<object, number>();
let nextIdentity = 0;
/** A number of its own for every object. */
export function identityOf(x: object): number {
  let id = identities.get(x);
  if (id === undefined) identities.set(x, (id = nextIdentity++));
  return id;
}

/** Bytes of all tensors of a tree. */
export const treeBytes = (tree: unknown): number => leaves(tree).reduce((n, t) => n + t.bytes, 0);
/** Number of elements of all tensors of a tree. */
export const countParameters = (tree: unknown): number => leaves(tree).reduce((n, t) => n + t.size, 0);
