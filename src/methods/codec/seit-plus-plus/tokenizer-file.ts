/** The tokenizer's file: encoder, codebook and decoder as safetensors, its settings in the metadata. */
import { z } from 'zod';
import { FormatError, readSafetensors, writeSafetensors } from '../../../io/index.ts';
import { Config, type TokenizerConfig } from './config.ts';
import { Tokenizer } from './tokenizer.ts';
import { blank, fromRecords, toRecords } from './weights.ts';

/** What it takes to build a tokenizer. */
export interface TokenizerSettings {
  config: TokenizerConfig;
  /** Of its images. */
  channels: number;
}

export const TokenizerSettings = z.object({ config: Config.shape.tokenizer.unwrap(), channels: z.union([z.literal(1), z.literal(3)]) });

const metadataKey = 'thimble.tokenizer';

/** The structure of the tokenizer that these settings describe. */
export const blankTokenizer = ({ config, channels }: TokenizerSettings): Tokenizer => blank((key) => Tokenizer.init(key, config, channels));

export async function writeTokenizer(path: string, tokenizer: Tokenizer, settings: TokenizerSettings): Promise<void> {
  await writeSafetensors(path, toRecords(tokenizer), { metadata: { [metadataKey]: JSON.stringify(settings) } });
}

/** @throws FormatError for a file that is damaged or no tokenizer. */
export async function readTokenizer(path: string): Promise<TokenizerSettings & { tokenizer: Tokenizer }> {
  const { metadata, tensors } = await readSafetensors(path);
  const settings = parseSettings(metadata[metadataKey], path);
  return { ...settings, tokenizer: fromRecords(blankTokenizer(settings), tensors, { path }) };
}

/** Settings in a file's text. @throws FormatError where there are none, or wrong ones. */
export function parseSettings(text: string | undefined, path: string): TokenizerSettings {
  try {
    return TokenizerSettings.parse(JSON.parse(text ?? ''));
  } catch {
    throw new FormatError(`[seit-plus-plus] ${path} holds no settings of a tokenizer; it was not written by this method`);
  }
}
