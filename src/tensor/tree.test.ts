import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../device/index.ts';
import {
  add,
  compile,
  countParameters,
  disposeTree,
  flatten,
  forEachTensor,
  leaves,
  mapTree,
  type Tensor,
  tensor,
  treeBytes,
  unflatten,
} from './index.ts';
import { structure } from './tree.ts';

class Layer {
  readonly weight: Tensor;
  readonly eps = 0.1;
  constructor(weight: Tensor) {
    this.weight = weight;
  }
}
const model = () => ({
  stem: new Layer(tensor([1, 2])),
  blocks: [new Layer(tensor([[3]])), new Layer(tensor([[4]]))],
  name: 'm',
  ids: tensor(Int32Array.of(5)),
  none: undefined,
  nothing: null,
});

test('tensors are found in the order of the fields, under their paths', () => {
  const m = model();
  assert.deepEqual([...flatten(m).keys()], ['stem.weight', 'blocks.0.weight', 'blocks.1.weight', 'ids']);
  assert.deepEqual(
    leaves(m).map((t) => t.toArray()),
    [[1, 2], [[3]], [[4]], [5]],
  );
  const seen: string[] = [];
  forEachTensor(m, (t, path) => {
    seen.push(`${path.join('.')}:${t.size}`);
  });
  assert.deepEqual(seen, ['stem.weight:2', 'blocks.0.weight:1', 'blocks.1.weight:1', 'ids:1']);
  assert.deepEqual([countParameters(m), treeBytes(m)], [5, 20]);
  disposeTree(m);
  assert.throws(() => m.stem.weight.data(), /disposed/);
});

test('an object that contains itself is no tree, however it is walked; a deep one is', () => {
  class Node {
    readonly weight = tensor([1]);
    child: Node | undefined;
    parent: Node | undefined;
  }
  const root = new Node();
  root.child = new Node();
  root.child.parent = root;
  const cycle = {
    message:
      /\[tree\] an object contains itself, as its '(child\.parent|parent\.child)'; keep such a reference in a Map, which a tree passes on/,
  };
  for (const walk of [leaves, flatten, (tree: Node) => mapTree(tree, (t) => t), compile((tree: Node) => tree.weight)])
    assert.throws(() => walk(root), cycle);
  const circle = (): object => {
    const made: Record<string, unknown> = {};
    made['child'] = { parent: made };
    return made;
  };
  assert.throws(() => compile(circle)(), cycle);
  const own: Record<string, unknown> = { t: tensor([1]) };
  own['self'] = own;
  assert.throws(() => leaves(own), /\[tree\] an object contains itself, as its 'self'/);
  const links = new Map<string, unknown>();
  const linked = { t: tensor([3]), links };
  links.set('self', linked); // the way out
  assert.deepEqual(compile((tree: typeof linked) => (tree.links.get('self') === linked ? tree.t : undefined))(linked)!.toArray(), [3]);
  let deep: object = { t: tensor([7]) };
  for (let i = 0; i < 600; i++) deep = { deep };
  assert.deepEqual(compile((tree: object) => leaves(tree)[0]!)(deep).toArray(), [7]);
});

test('a mapped tree has the same structure; others are walked along', () => {
  const m = model();
  const twice = mapTree(m, (t, _, o) => add(t, o!), m);
  assert.ok(twice.blocks[1] instanceof Layer);
  assert.deepEqual(
    [twice.blocks[1].weight.toArray(), twice.name, twice.none, twice.nothing, twice.stem.eps],
    [[[8]], 'm', undefined, null, 0.1],
  );
  assert.deepEqual(
    mapTree(m, (_, path, o) => [path.length, o], { stem: undefined }).blocks[0],
    Object.assign(Object.create(Layer.prototype), { eps: 0.1, weight: [3, undefined] }),
  );
});

test('tensors go back by name; a missing or misshaped one is named', () => {
  const m = model();
  const named = flatten(m);
  const back = unflatten(model(), named);
  assert.equal(back.blocks[0]!.weight, m.blocks[0]!.weight);
  named.delete('blocks.1.weight');
  assert.throws(() => unflatten(model(), named), /\[tree\] tensor 'blocks\.1\.weight' f32\[1,1\] is missing; present: stem\.weight, /);
  named.set('blocks.1.weight', tensor([1]));
  assert.throws(() => unflatten(model(), named), /'blocks\.1\.weight' is f32\[1\], the model needs f32\[1,1\]/);
});

test('structures differ in fields, classes, numbers, functions and depth, not in tensors', () => {
  const x = tensor([1]);
  const f = (): number => 1;
  const trees = [
    x,
    [x],
    [[x]],
    [x, x],
    { a: x },
    { b: x },
    { a: x, n: 1 },
    { a: x, n: 2 },
    { a: x, n: '1' },
    { a: x, n: undefined },
    { a: x, n: null },
    { n: null, a: x },
    { 'a:*,n': null },
    Object.assign(Object.create(null), { a: x }),
    new Layer(x),
    new (class Layer {
      weight = x;
      eps = 0.1;
    })(),
    { weight: x, eps: 0.1 },
    { f },
    { f: () => 1 },
    Number.NaN,
    Number.POSITIVE_INFINITY,
    0,
    -0,
    0n,
    '0',
    true,
    'true',
    'x:*',
    null,
    undefined,
  ];
  const keys = trees.map((tree) => structure(tree));
  const repeated = keys.flatMap((k, i) => (keys.indexOf(k) < i ? [[keys.indexOf(k), i]] : []));
  assert.deepEqual(repeated, []);
  assert.equal(structure({ a: tensor([2, 3]), f }), structure({ a: x, f }));
});
