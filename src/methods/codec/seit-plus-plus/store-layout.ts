/** What a store of this method holds beside the tokens, and how many bytes all of it takes. */
import { estimateStoreBytes, type TokenStore, type TokenStoreConfig } from '../../../data/tokens/index.ts';
import { decodeSafetensors, encodeSafetensors, FormatError, safetensorsBytes } from '../../../io/index.ts';
import { mul, normalize, type Tensor, tensor } from '../../../tensor/index.ts';
import type { CodecTarget } from '../../contracts/codec.ts';
import { type Config, MapSizes } from './config.ts';
import { blankMaps } from './maps.ts';
import { blank, fromRecords, recordShapes, toRecords } from './records.ts';
import type { TokenAdapt } from './token-adapt.ts';
import { initEncoder, Tokenizer } from './tokenizer.ts';
import { believe, TokenizerSettings } from './tokenizer-file.ts';

/** Weights travel at half precision; the same rounded weights of the encoder make the stored tokens. */
const weightType = 'f16';
export const ENCODER = 'encoder';
export const MAPS = 'TokenAdapt';

/** Header of the token store. */
export function storeConfig(
  { tokenizer, tokenAdapt, codec }: Pick<Config, 'tokenizer' | 'codec'> & { tokenAdapt: MapSizes | null },
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
    note: { config: tokenizer, channels, ...(tokenAdapt && { maps: MapSizes.parse(tokenAdapt) }) } satisfies TokenizerSettings,
  };
}

const encoderSizes = new Map<string, number>();

/** Bytes of the stored encoder. It depends on few settings, and a budget is solved by asking for many. */
function encoderSize({ config: { kind, patch, width, layers, heads, codeDim }, channels }: TokenizerSettings): number {
  const key = [kind, patch, width, layers, heads, codeDim, channels].join();
  let bytes = encoderSizes.get(key);
  if (bytes === undefined) {
    const encoder = blank((k) => initEncoder(k, { kind, patch, width, layers, heads, codeDim, grid: 1, decoderLayers: 0 }, channels));
    encoderSizes.set(key, (bytes = safetensorsBytes(recordShapes(encoder, weightType))));
  }
  return bytes;
}

/** Bytes of the store of such images: exact for `packed`, an upper bound for the other codecs. */
export function storeBytes(config: Config, target: CodecTarget): number {
  const { tokenizer, tokenAdapt } = config;
  const maps = tokenAdapt && blankMaps({ config: tokenizer, maps: tokenAdapt });
  const attachments = {
    [ENCODER]: encoderSize({ config: tokenizer, channels: target.shape[2] }),
    ...(maps && { [MAPS]: safetensorsBytes(recordShapes(maps, weightType)) }),
  };
  return estimateStoreBytes(storeConfig(config, target), target.size, { attachments });
}

/** Weights, an encoder or maps, as the store holds them. */
export const weightBytes = (tree: unknown): Uint8Array => encodeSafetensors(toRecords(tree, weightType));

/**
 * The rows of a codebook [K, d_c] at root mean square 1 (length sqrt(d_c)): the vectors that classifiers read. The published codebook is
 * drawn from N(0, 1) and used by direction alone; strengths of noise refer to this scale.
 */
export const unitRms = (codebook: Tensor): Tensor => mul(normalize(codebook), Math.sqrt(codebook.shape[1]!));

/** The tokenizer in a store: rounded encoder and codebook, no decoder. @throws FormatError where the store is of another method or damaged. */
export function storedTokenizer(store: TokenStore): { settings: TokenizerSettings; tokenizer: Tokenizer } {
  const { note, K, channels: codeDim } = store.description;
  const settings = believe(TokenizerSettings, note, store.path, 'token store');
  const { config } = settings;
  if (config.codes !== K || config.codeDim !== codeDim || store.grid.some((side) => side !== config.grid))
    throw new FormatError(`[seit-plus-plus] ${store.path}: its tokens do not fit the settings of its tokenizer`);
  const bytes = store.attachment(ENCODER);
  if (!bytes) throw new FormatError(`[seit-plus-plus] ${store.path} holds no encoder; it was not written by this method`);
  const encoder = blank((key) => initEncoder(key, config, settings.channels));
  const codebook = tensor(store.codebook(), { shape: [K, codeDim] });
  return { settings, tokenizer: new Tokenizer(fromRecords(encoder, decodeSafetensors(bytes, store.path), store.path), codebook) };
}

/** TokenAdapt's maps to a grid of side `crop`, where the store holds them. @throws FormatError where they are missing or damaged. */
export function storedMaps(store: TokenStore, settings: TokenizerSettings, crop: number): TokenAdapt | undefined {
  const maps = blankMaps(settings, crop);
  if (!maps) return undefined;
  const bytes = store.attachment(MAPS);
  if (!bytes) throw new FormatError(`[seit-plus-plus] ${store.path} speaks of maps of TokenAdapt and holds none; store the images again`);
  return fromRecords(maps, decodeSafetensors(bytes, store.path), store.path);
}
