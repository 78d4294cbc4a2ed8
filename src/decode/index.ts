/** Language models that produce tokens: caches of keys and values, sampling, generation. */
export { type CachePass, type CacheShape, FullCache, type KvCache } from './cache.ts';
export * from './generate.ts';
export * from './load.ts';
export * from './sampling.ts';
