/** What a store of this method holds beside the tokens, and how many bytes all of it takes. */
import { estimateStoreBytes, type TokenStore, type TokenStoreConfig } from '../../../data/tokens/index.ts';
import { decodeSafetensors, encodeSafetensors, FormatError, safetensorsBytes } from '../../../io/index.ts';
import { mul, normalize, type Tensor, tensor } from '../../../tensor/index.ts';
import type { CodecTarget } from '../../contracts/codec.ts';
import type { Config } from './config.ts';
import { blank, fromRecords, recordShapes, toRecords } from './records.ts';
import { initEncoder, Tokenizer } from './tokenizer.ts';
import { believe, TokenizerSettings } from './tokenizer-file.ts';

/** Weights of the encoder travel at half precision; the same rounded weights make the stored tokens. */
const encoderType = 'f16';
export const ENCODER = 'encoder';

/** Header of the token store. */
export function storeConfig(
  { tokenizer, codec }: Pick<Config, 'tokenizer' | 'codec'>,
  { shape, classes }: Pick<CodecTarget, 'shape' | 'classes'>,
): TokenStoreConfig {
  const [height, width, channels] = shape;
  return {
    K: tokenizer.codes,
    grid: [tokenizer.grid, tokenizer.grid],
    channels: tokenizer.codeDim,
    codec,
    classes,
    image: { height, width, channels },
    note: { config: tokenizer, channels } satisfies TokenizerSettings,
  };
}

const encoderSizes = new Map<string, number>();

/** Bytes of the stored encoder. It depends on few settings, and a budget is solved by asking for many. */
function encoderSize({ config: { kind, patch, width, layers, heads, codeDim }, channels }: TokenizerSettings): number {
  const key = [kind, patch, width, layers, heads, codeDim, channels].join();
  let bytes = encoderSizes.get(key);
  if (bytes === undefined) {
    const encoder = blank((k) => initEncoder(k, { kind, patch, width, layers, heads, codeDim, grid: 1, decoderLayers: 0 }, channels));
    encoderSizes.set(key, (bytes = safetensorsBytes(recordShapes(encoder, encoderType))));
  }
  return bytes;
}

/** Bytes of the store of such images: exact for `packed`, an upper bound for the other codecs. */
export function storeBytes(config: Config, target: CodecTarget): number {
  const attachments = {
    [ENCODER]: encoderSize({ config: config.tokenizer, channels: target.shape[2] }),
  };
  return estimateStoreBytes(storeConfig(config, target), target.size, { attachments });
}

/** The encoder as the store holds it. */
export const encoderBytes = ({ encoder }: Tokenizer): Uint8Array => encodeSafetensors(toRecords(encoder, encoderType));

/**
 * The rows of a codebook [K, d_c] at root mean square 1 (length sqrt(d_c)): the vectors that classifiers read. The published codebook is
 * drawn from N(0, 1) and used by direction alone; strengths of noise refer to this scale.
 */
export const unitRms = (codebook: Tensor): Tensor => mul(normalize(codebook), Math.sqrt(codebook.shape[1]!));

/** The tokenizer in a store: rounded encoder and codebook, no decoder. @throws FormatError where the store is of another method or damaged. */
export function storedTokenizer(store: TokenStore): TokenizerSettings & { tokenizer: Tokenizer } {
  const { note, K, channels: codeDim } = store.description;
  const settings = believe(TokenizerSettings, note, store.path, 'token store');
  const { config } = settings;
  if (config.codes !== K || config.codeDim !== codeDim || store.grid.some((side) => side !== config.grid))
    throw new FormatError(`[seit-plus-plus] ${store.path}: its tokens do not fit the settings of its tokenizer`);
  const bytes = store.attachment(ENCODER);
  if (!bytes) throw new FormatError(`[seit-plus-plus] ${store.path} holds no encoder; it was not written by this method`);
  const encoder = blank((key) => initEncoder(key, config, settings.channels));
  const codebook = tensor(store.codebook(), { shape: [K, codeDim] });
  return { ...settings, tokenizer: new Tokenizer(fromRecords(encoder, decodeSafetensors(bytes, store.path), store.path), codebook) };
}
