/** Weights as named records at half precision: how the encoder travels inside a store. */
import '../../../device/index.ts';
import { FormatError, type TensorRecord } from '../../../io/index.ts';
import { type DType, decode, encode, flatten, mapTree, random, tensor, withDevice } from '../../../tensor/index.ts';

type Half = 'f16' | 'bf16';

/** The structure of a model, without numbers: what stored weights are put into. Op by op: one program would be compiled as a whole for nothing. */
export const blank = <M>(make: (key: random.Key) => M): M => withDevice('null', () => make(random.key(0)));

/** The tensors of a tree of floats, rounded to `dtype`. */
export function toRecords(tree: unknown, dtype: Half): Map<string, TensorRecord> {
  return new Map([...flatten(tree)].map(([name, t]) => [name, { dtype, shape: [...t.shape], data: encode(t.data(), dtype) }]));
}

/** What `toRecords` would make, without the numbers. */
export function recordShapes(tree: unknown, dtype: Half): Map<string, { dtype: DType; shape: number[] }> {
  return new Map([...flatten(tree)].map(([name, t]) => [name, { dtype, shape: [...t.shape] }]));
}

/** The tree with the numbers of the records. @throws FormatError that names the first tensor that is missing or of another shape. */
export function fromRecords<M>(template: M, records: ReadonlyMap<string, TensorRecord>, path: string): M {
  return mapTree(template, (t, at) => {
    const name = at.join('.');
    const record = records.get(name);
    if (!record) throw new FormatError(`[seit-plus-plus] ${path} has no tensor '${name}'; it was written for another configuration`);
    if (record.shape.join() !== t.shape.join())
      throw new FormatError(`[seit-plus-plus] ${path}: '${name}' is [${record.shape}], the model needs ${t.type.key}`);
    return tensor(Float32Array.from(decode(record.data, record.dtype)), { shape: t.shape, dtype: t.dtype });
  });
}
