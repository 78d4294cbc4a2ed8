/** The classifier: a ViT that reads grids of code vectors through a convolution (SeiT's Stem-Adapter), and its file. */
import { z } from 'zod';
import { initialize, Vit } from '../../../nn/index.ts';
import type { random, Tensor } from '../../../tensor/index.ts';
import { loadModel, modelInfo, saveModel } from '../../../train/index.ts';
import { ModelSays } from '../../contracts/codec.ts';
import { centreCrop } from './augment.ts';
import { Config, imageSide } from './config.ts';
import { TokenClassifier } from './fine-tune.ts';
import { type CodeStem, type EncoderConfig, TokenEncoder } from './mtm-encoder.ts';
import { toInput } from './pixels.ts';
import { blank } from './records.ts';
import { Tokenizer } from './tokenizer.ts';
import { believe, TokenizerSettings } from './tokenizer-file.ts';
import { codesToGrid } from './tokens.ts';

/** What shapes a classifier. */
type Sized = Pick<Config, 'model' | 'crop' | 'tokenizer'>;

/** The ViT over code vectors [B, d_c, crop, crop]. */
function initVit(key: random.Key, { model, crop, tokenizer }: Sized, classes: number): Vit {
  const { features, layers, heads, stem, positions } = model;
  return Vit.init(key, {
    channels: tokenizer.codeDim,
    height: crop,
    width: crop,
    patch: stem,
    features,
    layers,
    heads,
    classes,
    positions,
  });
}

/** The encoder of masked token modelling, over codes i32 [B, crop, crop]. */
export function encoderConfig({ model, crop, tokenizer, mtm }: Sized & { mtm: Pick<Config['mtm'], 'patch' | 'vector'> }): EncoderConfig {
  const { features, layers, heads } = model;
  return { codes: tokenizer.codes, vector: mtm.vector, grid: [crop, crop], patch: mtm.patch, features, layers, heads };
}

/** What a model file holds beside its weights. */
export const ClassifierSettings = ModelSays.extend({
  method: z.literal('seit-plus-plus'),
  tokenizer: TokenizerSettings,
  crop: z.int().min(1),
  model: Config.shape.model.unwrap(),
  mtm: Config.shape.mtm.unwrap().pick({ patch: true, vector: true }).optional().describe('absent: the ViT reads code vectors'),
});
export type ClassifierSettings = z.output<typeof ClassifierSettings>;

/** Everything that turns pixels into logits. */
export class Classifier {
  readonly tokenizer: Tokenizer;
  /** Over code vectors [B, d_c, h, w], or, fine-tuned, over codes and with an embedding of its own. */
  readonly vit: Vit | TokenClassifier<CodeStem>;
  constructor(tokenizer: Tokenizer, vit: Vit | TokenClassifier<CodeStem>) {
    this.tokenizer = tokenizer;
    this.vit = vit;
  }
  /** Pixels u8 [B, h, w, c] of any size -> logits [B, classes]: resize, tokenise, centre-crop the grid, classify (spec D 18). */
  logits(pixels: Tensor, { tokenizer: { config, channels }, crop }: ClassifierSettings): Tensor {
    const codes = centreCrop(this.tokenizer.tokenize(toInput(pixels, imageSide(config), channels)), crop);
    return this.vit.forward(this.vit instanceof TokenClassifier ? codes : codesToGrid(codes, this.tokenizer.codebook));
  }
}

export async function writeClassifier(path: string, classifier: Classifier, settings: ClassifierSettings): Promise<void> {
  await saveModel(path, classifier, { config: settings });
}

/** @throws FormatError for a file that is damaged or no classifier of this method. */
export const readSettings = async (path: string): Promise<ClassifierSettings> =>
  believe(ClassifierSettings, (await modelInfo(path)).config, path, 'classifier');

/** The structure of the classifier that these settings describe. */
export function blankClassifier({ tokenizer, crop, model, mtm, classes }: ClassifierSettings): Classifier {
  return blank((key) => {
    const { encoder, codebook } = Tokenizer.init(key, tokenizer.config, tokenizer.channels);
    const built = { model, crop, tokenizer: tokenizer.config };
    const vit = mtm
      ? TokenClassifier.init(key, TokenEncoder.init(key, encoderConfig({ ...built, mtm })), classes.length)
      : initVit(key, built, classes.length);
    return new Classifier(new Tokenizer(encoder, codebook), vit);
  });
}

/** @throws as `readSettings` */
export async function readClassifier(path: string): Promise<{ classifier: Classifier; settings: ClassifierSettings }> {
  const settings = await readSettings(path);
  return { classifier: await loadModel(path, blankClassifier(settings)), settings };
}

/** A new one for these settings. */
export const newVit = (config: Sized, classes: number, seed: number): Vit => initialize((key) => initVit(key, config, classes), seed);
