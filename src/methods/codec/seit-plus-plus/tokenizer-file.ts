/** The tokenizer's file: encoder, codebook and decoder, with the settings that build them. */
import { z } from 'zod';
import { FormatError } from '../../../io/index.ts';
import { loadModel, modelInfo, saveModel } from '../../../train/index.ts';
import { Config, MapSizes } from './config.ts';
import { blankMaps } from './maps.ts';
import { blank } from './records.ts';
import type { TokenAdapt } from './token-adapt.ts';
import { Tokenizer } from './tokenizer.ts';

/** What it takes to build a tokenizer; `channels` of its images, sizes of TokenAdapt's maps where they go with it. */
export const TokenizerSettings = z.object({
  config: Config.shape.tokenizer.unwrap(),
  channels: z.union([z.literal(1), z.literal(3)]),
  maps: MapSizes.optional(),
});
export type TokenizerSettings = z.output<typeof TokenizerSettings>;

/** The structure of the tokenizer that these settings describe. */
export const blankTokenizer = ({ config, channels }: TokenizerSettings): Tokenizer => blank((key) => Tokenizer.init(key, config, channels));

/** @param maps those that `settings.maps` describes. */
export async function writeTokenizer(path: string, tokenizer: Tokenizer, settings: TokenizerSettings, maps?: TokenAdapt): Promise<void> {
  await saveModel(path, { ...tokenizer, maps }, { config: settings });
}

/** @throws FormatError for a file that is damaged or no tokenizer. */
export async function readTokenizer(path: string): Promise<{ settings: TokenizerSettings; tokenizer: Tokenizer; maps?: TokenAdapt }> {
  const settings = believe(TokenizerSettings, (await modelInfo(path)).config, path, 'tokenizer');
  const { encoder, codebook, decoder, maps } = await loadModel(path, { ...blankTokenizer(settings), maps: blankMaps(settings) });
  return { settings, tokenizer: new Tokenizer(encoder, codebook, decoder), ...(maps && { maps }) };
}

/** What a file says of itself, checked. @throws FormatError where it says something else. */
export function believe<S extends z.ZodType>(schema: S, said: unknown, path: string, what: string): z.output<S> {
  const parsed = schema.safeParse(said);
  if (parsed.success) return parsed.data;
  throw new FormatError(
    `[seit-plus-plus] ${path} does not describe a ${what} of this method (${z.prettifyError(parsed.error).replaceAll('\n', ' ')}); it was written by something else`,
  );
}
