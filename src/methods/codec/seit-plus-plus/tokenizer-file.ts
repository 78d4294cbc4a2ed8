/** The tokenizer's file: encoder, codebook and decoder, with the settings that build them. */
import { z } from 'zod';
import { FormatError } from '../../../io/index.ts';
import { loadModel, modelInfo, saveModel } from '../../../train/index.ts';
import { Config } from './config.ts';
import { blank } from './records.ts';
import { Tokenizer } from './tokenizer.ts';

/** What it takes to build a tokenizer; `channels` of its images. */
export const TokenizerSettings = z.object({ config: Config.shape.tokenizer.unwrap(), channels: z.union([z.literal(1), z.literal(3)]) });
export type TokenizerSettings = z.output<typeof TokenizerSettings>;

/** The structure of the tokenizer that these settings describe. */
export const blankTokenizer = ({ config, channels }: TokenizerSettings): Tokenizer => blank((key) => Tokenizer.init(key, config, channels));

export async function writeTokenizer(path: string, tokenizer: Tokenizer, settings: TokenizerSettings): Promise<void> {
  await saveModel(path, tokenizer, { config: settings });
}

/** @throws FormatError for a file that is damaged or no tokenizer. */
export async function readTokenizer(path: string): Promise<TokenizerSettings & { tokenizer: Tokenizer }> {
  const settings = believe(TokenizerSettings, (await modelInfo(path)).config, path, 'tokenizer');
  return { ...settings, tokenizer: await loadModel(path, blankTokenizer(settings)) };
}

/** What a file says of itself, checked. @throws FormatError where it says something else. */
export function believe<S extends z.ZodType>(schema: S, said: unknown, path: string, what: string): z.output<S> {
  const parsed = schema.safeParse(said);
  if (parsed.success) return parsed.data;
  throw new FormatError(
    `[seit-plus-plus] ${path} does not describe a ${what} of this method (${z.prettifyError(parsed.error).replaceAll('\n', ' ')}); it was written by something else`,
  );
}
