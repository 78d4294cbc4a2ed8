export { AtomicFile, type AtomicFs, type AtomicOptions, type Chunks, openAtomic, writeFileAtomic } from './atomic.ts';
export { FormatError } from './errors.ts';
export * from './images.ts';
export { type Filter, resample } from './resample.ts';
export * from './safetensors.ts';
export type { StoredTensor } from './safetensors-header.ts';
