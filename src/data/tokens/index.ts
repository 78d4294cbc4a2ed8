/** Token stores: images (or text) as grids of code indices in one crash-safe file, with three codecs and random access. */
export { type ByteSource, bytesSource, type CodecId, type ShardShape, type TokenCodec, type TokenShard } from './codec.ts';
export { CODECS, type Description, type EstimateOptions, estimateStoreBytes, type TokenStoreConfig } from './description.ts';
export { exportPublished, importPublished, type PublishedFiles } from './published.ts';
export { type Law, lawOf, quantise, rangeDecode, rangeEncode } from './range-coder.ts';
export { byFrequency, countTokens, entropyBits, type Relabelling, relabel, relabelRows } from './relabel.ts';
export { type OpenOptions, TokenStore } from './store.ts';
export { type CreateOptions, TokenStoreWriter } from './writer.ts';
