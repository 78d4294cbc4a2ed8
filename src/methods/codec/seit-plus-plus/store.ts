/** Pixels to a token store: tokenise in batches, commit by shards. */
import { existsSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { type ImageSet, readBatch } from '../../../data/index.ts';
import { byFrequency, countTokens, relabelRows, TokenStore, TokenStoreWriter } from '../../../data/tokens/index.ts';
import { decodeSafetensors } from '../../../io/index.ts';
import { type Compiled, compile, type Tensor, tensor } from '../../../tensor/index.ts';
import type { CodecFiles } from '../../contracts/codec.ts';
import type { Run } from '../../contracts/run.ts';
import { type Config, imageSide, type TokenizerConfig } from './config.ts';
import { mapsOfStore } from './maps.ts';
import { imagesAtOnce, toInput } from './pixels.ts';
import { fromRecords } from './records.ts';
import { ENCODER, MAPS, storeConfig, unitRms, weightBytes } from './store-layout.ts';
import { Tokenizer } from './tokenizer.ts';
import { readTokenizer } from './tokenizer-file.ts';

/** Images that say how frequent the codes are. */
const SAMPLE = 2048;
/** Compiled (tokenizer, pixels u8 [B, H, W, C]) -> code indices i32 [B, h, w]. */
export function pixelTokenizer(config: TokenizerConfig, channels: number): Compiled<[Tokenizer, Tensor], Tensor> {
  const side = imageSide(config);
  return compile((tokenizer: Tokenizer, pixels: Tensor) => tokenizer.tokenize(toInput(pixels, side, channels)), { name: 'tokenise' });
}

/**
 * Writes `images` to `files.store` with the tokenizer of `files.tokenizer`. Codes are numbered by descending frequency. After a stop, goes on
 * behind the last whole shard.
 */
export async function writeStore(
  images: ImageSet,
  files: Pick<CodecFiles, 'tokenizer' | 'store'>,
  codec: Config['codec'],
  run: Run,
): Promise<void> {
  run.signal?.throwIfAborted();
  const { tokenizer: learned, maps, settings: learnt } = await readTokenizer(files.tokenizer);
  const { config, channels } = learnt;
  const encoder = weightBytes(learned.encoder);
  const rounded = fromRecords(learned.encoder, decodeSafetensors(encoder, files.tokenizer), files.tokenizer);
  const tokenise = pixelTokenizer(config, channels);
  const plan = (tokenizer: Tokenizer, pixels: Tensor): void => run.onPlan?.('store', tokenise.plan(tokenizer, pixels).peakBytes);
  const settings = storeConfig(
    { tokenizer: config, tokenAdapt: learnt.maps ?? null, codec },
    { classes: images.classes, shape: [images.shape[0], images.shape[1], channels] },
  );

  const order = byFrequency(await countCodes(images, new Tokenizer(rounded, learned.codebook), tokenise, run));
  using unit = unitRms(learned.codebook);
  const rows = relabelRows(unit.data() as Float32Array, order);
  const attachments = { [ENCODER]: encoder, ...(maps && { [MAPS]: weightBytes(mapsOfStore(maps, order)) }) };
  using out =
    resumable(files.store, images.size, { note: settings.note, codebook: rows, attachments }) ??
    TokenStoreWriter.create(files.store, settings, { codebook: rows, attachments, overwrite: true });
  const codebook = tensor(rows, { shape: learned.codebook.shape });
  const tokenizer = new Tokenizer(rounded, codebook);
  const perImage = config.grid ** 2;
  const most = imagesAtOnce(images.shape);
  const from = out.size;
  for (let at = from; at < images.size; at += most) {
    run.signal?.throwIfAborted();
    const indices = Int32Array.from({ length: Math.min(most, images.size - at) }, (_, i) => at + i);
    const batch = await readBatch(images, indices, run.signal);
    using pixels = tensor(batch.pixels, { shape: [indices.length, ...images.shape] });
    if (at === from) plan(tokenizer, pixels);
    using codes = await tokenise.async(tokenizer, pixels);
    const tokens = codes.data() as Int32Array;
    for (let i = 0; i < indices.length; i++) out.append(tokens.subarray(i * perImage, (i + 1) * perImage), batch.labels[i]);
    run.onProgress?.('store', at + indices.length, images.size);
  }
  out.finish();
}

/** What a store holds before its first image. */
interface Beginning {
  note: unknown;
  codebook: Float32Array;
  attachments: Readonly<Record<string, Uint8Array>>;
}

/** The writer of an unfinished store that began like this. */
function resumable(path: string, images: number, { note, codebook, attachments }: Beginning): TokenStoreWriter | undefined {
  if (!existsSync(path)) return undefined;
  try {
    using store = new TokenStore(path, { unfinished: true });
    const same =
      isDeepStrictEqual(store.description.note, note) &&
      isDeepStrictEqual(store.codebook(), codebook) &&
      Object.entries(attachments).every(([name, bytes]) => Buffer.from(bytes).equals(store.attachment(name) ?? Buffer.alloc(0)));
    return !store.finished && same && store.size <= images ? TokenStoreWriter.resume(path) : undefined;
  } catch {
    return undefined; // not a store that could be continued: it is written anew
  }
}

/** How often each code occurs in images spread over the set. */
async function countCodes(
  images: ImageSet,
  tokenizer: Tokenizer,
  tokenise: ReturnType<typeof pixelTokenizer>,
  run: Run,
): Promise<Float64Array> {
  const K = tokenizer.codebook.shape[0]!;
  const counts = new Float64Array(K);
  const count = Math.min(SAMPLE, images.size);
  const most = imagesAtOnce(images.shape);
  for (let at = 0; at < count; at += most) {
    run.signal?.throwIfAborted();
    const indices = Int32Array.from({ length: Math.min(most, count - at) }, (_, i) => Math.floor(((at + i) * images.size) / count));
    using pixels = tensor((await readBatch(images, indices, run.signal)).pixels, { shape: [indices.length, ...images.shape] });
    using codes = await tokenise.async(tokenizer, pixels);
    countTokens(codes.data() as Int32Array, K, counts);
  }
  return counts;
}
