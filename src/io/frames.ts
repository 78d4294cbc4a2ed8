/**
 * Frames: the crash-safe container of Thimble's own stores. A header that describes the file, sections of bytes, and
 * commit records; append-only, each section and record under a checksum (layout: frame-format.ts).
 *
 *     using writer = FrameWriter.create('photos.tokens', { kind: 'tokens', producer: 'thimble 0.1.0', description: { K: 256 } });
 *     writer.append('shard.0', bytes);
 *     writer.commit();                       // from here on it survives kill -9 and power cuts
 *
 *     using reader = new FrameReader('photos.tokens', 'tokens');
 *     reader.read(reader.get('shard.0'), 49 * i, 49);
 */
export { type FrameHeader, type Json, planFrames, type Section } from './frame-format.ts';
export { FrameReader } from './frame-reader.ts';
export { FrameWriter } from './frame-writer.ts';
