/** Trees of tensors as named records, and back. */
import '../../../device/index.ts';
import { initialize } from '../../../nn/index.ts';
import { FormatError, type TensorRecord } from '../../../io/index.ts';
import { decode, encode, flatten, fromBytes, isFloat, mapTree, type random, type Tensor, tensor, typeOf, withDevice } from '../../../tensor/index.ts';

/** The structure of a model, without numbers: what stored weights are put into. */
export const blank = <M>(make: (key: random.Key) => M): M => withDevice('null', () => initialize(make, 0));

/** Reads every tensor of a tree. Floats are stored as `dtype` if given. Names get `prefix`. */
export function toRecords(tree: unknown, { prefix = '', dtype }: { prefix?: string; dtype?: 'f16' | 'bf16' } = {}): Map<string, TensorRecord> {
  const stored = (t: Tensor): TensorRecord['dtype'] => (dtype && isFloat(t.dtype) ? dtype : t.dtype);
  return new Map([...flatten(tree)].map(([name, t]) => [prefix + name, { dtype: stored(t), shape: [...t.shape], data: encode(t.data(), stored(t)) }]));
}

/** What `toRecords` would make, without numbers. */
export function recordShapes(tree: unknown, dtype: 'f16' | 'bf16'): Map<string, { dtype: TensorRecord['dtype']; shape: number[] }> {
  return new Map([...flatten(tree)].map(([name, t]) => [name, { dtype: isFloat(t.dtype) ? dtype : t.dtype, shape: [...t.shape] }]));
}

/**
 * The tree with the numbers of the records; floats are widened to what the tree holds.
 * @throws FormatError that names the first tensor that is missing or of another shape.
 */
export function fromRecords<M>(template: M, records: ReadonlyMap<string, TensorRecord>, { prefix = '', path }: { prefix?: string; path: string }): M {
  return mapTree(template, (t, at) => {
    const name = prefix + at.join('.');
    const record = records.get(name);
    if (!record) throw new FormatError(`[seit-plus-plus] ${path} has no tensor '${name}'; it was written for another configuration`);
    if (record.shape.join() !== t.shape.join() || isFloat(record.dtype) !== isFloat(t.dtype))
      throw new FormatError(`[seit-plus-plus] ${path}: '${name}' is ${record.dtype} [${record.shape}], the model needs ${t.type.key}`);
    return record.dtype === t.dtype
      ? fromBytes(record.data, typeOf(t.shape, t.dtype))
      : tensor(decode(record.data, record.dtype) as Float32Array, { shape: t.shape, dtype: t.dtype });
  });
}
