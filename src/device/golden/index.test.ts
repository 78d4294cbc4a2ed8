import {
  add,
  argsort,
  cumsum,
  embedding,
  neg,
  pad,
  scatterAlong,
  slice,
  sort,
  type Tensor,
  take,
  takeAlong,
  topK,
  transpose,
} from '../../tensor/index.ts';
import { type Golden, goldenCases, testGolden } from '../conformance/golden.ts';

interface Attrs {
  axis: number;
  descending: boolean;
  k: number;
  largest: boolean;
}
type Outputs = Record<string, Tensor>;

/** Sorted along another axis than the last. */
function sortAlong(x: Tensor, { axis, descending }: Attrs): Outputs {
  if (axis === x.rank - 1) return { ...sort(x, { descending }) };
  const { values, indices } = sort(transpose(x, axis, -1), { descending });
  return { values: transpose(values, axis, -1), indices: transpose(indices, axis, -1) };
}

/** x without what an index that is shorter in the other axes does not reach. */
const cut = (x: Tensor, index: Tensor, axis: number): Tensor =>
  slice(x, ...index.shape.map((d, i) => (i === axis ? null : ([0, d] as const))));

/** x plus source at index; x may be longer than the index in the other axes. */
function scattered(x: Tensor, index: Tensor, source: Tensor, axis: number): Tensor {
  const update = scatterAlong(source, index, x.shape[axis]!, axis);
  const rest = x.shape.map((d, i) => d - update.shape[i]!);
  return add(
    x,
    pad(
      update,
      rest.map(() => 0),
      rest,
    ),
  );
}

function run(c: Golden<Attrs>, { x, table, ids, index, source }: Outputs, attrs: Attrs): Outputs {
  switch (c.name.split(' ')[0]) {
    case 'embedding':
      return { y: embedding(table!, ids!) };
    case 'gather':
      return { y: takeAlong(cut(x!, index!, attrs.axis), index!, attrs.axis) };
    case 'scatter_add':
      return { y: scattered(x!, index!, source!, attrs.axis) };
    case 'index_select':
      return { y: take(x!, index!, attrs.axis) };
    case 'sort':
      return sortAlong(x!, attrs);
    case 'argsort':
      return { y: argsort(x!, attrs) };
    case 'cumsum':
      return { y: cumsum(x!, attrs.axis) };
    default: {
      if (attrs.largest) return { ...topK(x!, attrs.k) };
      const { values, indices } = topK(neg(x!), attrs.k);
      return { values: neg(values), indices };
    }
  }
}

for (const c of goldenCases<Attrs>('index')) testGolden(c, (inputs, attrs) => run(c, inputs, attrs));
