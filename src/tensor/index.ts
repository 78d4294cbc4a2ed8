/** Tensors, differentiation and compiled programs. */

export type { Plan } from './assemble.ts';
export { type CallTime, type Compiled, type CompileOptions, compile } from './compile.ts';
export { type Device, type DeviceBuffer, defaultDevice, device, type Executable, registerDevice, withDevice } from './device.ts';
export {
  type DType,
  decode,
  dtypes,
  encode,
  fromBf16,
  fromF16,
  isFloat,
  itemSize,
  promote,
  type TypedArray,
  toBf16,
  toF16,
} from './dtype.ts';
export {
  type AttentionOptions,
  attention,
  attentionWithLse,
  crossEntropy,
  decodeAttention,
  layerNorm,
  rmsNorm,
  softCrossEntropy,
  softmax,
} from './functions/fused.ts';
export * from './functions/image.ts';
export * from './functions/indexing.ts';
export * from './functions/layout.ts';
export * from './functions/linear.ts';
export {
  type LinearCrossEntropyOptions,
  type LinearCrossEntropyPreset,
  type LogitOptions,
  leastMemory,
  linearCrossEntropy,
  linearCrossEntropyGradients,
  linearCrossEntropyWithLse,
  mergeVocabulary,
  type VocabularyShard,
  vocabularyShard,
} from './functions/linear-cross-entropy.ts';
export * from './functions/pointwise.ts';
export * as random from './functions/random.ts';
export { dropout } from './functions/random.ts';
export * from './functions/reduce.ts';
export { type Rotation, rope, rotation, rotationOf } from './functions/rope.ts';
export { customVjp, grad, valueAndGrad } from './grad.ts';
export type { CustomVjp } from './gradients.ts';
export { recompute } from './recompute.ts';
export { type Shape, ShapeError, sizeOf, type TensorType, typeOf } from './shape.ts';
export { empty, fetchData, fromBytes, type NestedNumbers, scope, Tensor, tensor } from './tensor.ts';
export { countParameters, disposeTree, flatten, forEachTensor, leaves, mapTree, type Path, treeBytes, unflatten } from './tree.ts';
