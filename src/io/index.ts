export { AtomicFile, type AtomicFs, type AtomicOptions, type Chunks, openAtomic, writeFileAtomic } from './atomic.ts';
export { FormatError } from './errors.ts';
export * from './images.ts';
export { type Filter, resample } from './resample.ts';
export * from './safetensors.ts';
export { decodeSafetensors, encodeSafetensors, safetensorsBytes } from './safetensors-bytes.ts';
export type { StoredTensor } from './safetensors-header.ts';
