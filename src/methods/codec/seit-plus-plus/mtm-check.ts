/** Does masked token modelling help where few labels are known? The same classifier from the same tokens and labels, with and without it. */
import { smoothTargets } from '../../../data/augment/index.ts';
import { type ImageSet, splitIndices } from '../../../data/index.ts';
import { initialize } from '../../../nn/index.ts';
import { argmax, compile, disposeTree, random, squeeze, type Tensor, tensor, unsqueeze } from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { codesOf, shortTokenizer, trainShort } from './check-run.ts';
import type { TokenizerConfig } from './config.ts';
import { TokenClassifier } from './fine-tune.ts';
import { fineTuneState, fineTuneStep } from './fine-tune-train.ts';
import { MaskedTokenModel, type MtmConfig } from './mtm.ts';
import type { CodeStem, TokenEncoder } from './mtm-encoder.ts';
import { pretrainState, pretrainStep } from './mtm-train.ts';
import { cutMix } from './targets.ts';

export interface MtmCheck {
  tokenizer: TokenizerConfig;
  /** `encoder.codes`, `vector` and `grid` are those of the tokenizer. */
  mtm: MtmConfig;
  /** Share of the images whose labels are used. */
  labelled: number;
  pretrain: { steps: number; batch: number; lr: number };
  /** `layerDecay` is that after pre-training; `cutmix` a probability. */
  finetune: { steps: number; batch: number; lr: number; layerDecay: number; cutmix: number };
}

/** Accuracies on `test`, 0 to 1. */
export interface MtmFigures {
  /** After pre-training on the tokens of all images. */
  pretrained: number;
  /** From random weights, with one learning rate for all layers. */
  scratch: number;
  /** Loss of masked tokens at the end of pre-training, nats. */
  maskedLoss: number;
}

export async function checkMtm(images: ImageSet, test: ImageSet, check: MtmCheck, run: Run): Promise<MtmFigures> {
  const { tokenizer: config, mtm, pretrain, finetune } = check;
  const classes = images.classes.length;
  const tokenizer = await shortTokenizer(images, config, run);
  const [all, seen] = [await codesOf(images, tokenizer, config), await codesOf(test, tokenizer, config)];
  const n = config.grid * config.grid;
  const rows = (codes: Int32Array, indices: ArrayLike<number>): Tensor => {
    const out = new Int32Array(indices.length * n);
    for (let i = 0; i < indices.length; i++) out.set(codes.subarray(indices[i]! * n, (indices[i]! + 1) * n), i * n);
    return tensor(out, { shape: [indices.length, config.grid, config.grid] });
  };
  const newModel = (): MaskedTokenModel => initialize((key) => MaskedTokenModel.init(key, mtm), run.seed);

  let maskedLoss = Number.NaN;
  const pretrained = await trainShort(
    {
      what: 'masked tokens',
      state: () => pretrainState(newModel()),
      step: pretrainStep({ prepare: (codes: Tensor) => codes, ratio: mtm.ratio }),
      size: images.size,
      prepare: (indices) => rows(all, indices),
      ...pretrain,
    },
    {
      ...run,
      onStep(what, step, figures) {
        maskedLoss = figures['loss']!;
        run.onStep?.(what, step, figures);
      },
    },
  );

  const known = splitIndices(images, check.labelled, run.seed).validation;
  interface Batch {
    codes: Tensor;
    labels: Tensor;
  }
  const accuracyFrom = async (what: string, encoder: TokenEncoder<CodeStem>, layerDecay: number): Promise<number> => {
    const { steps, batch, lr, cutmix } = finetune;
    const { model } = await trainShort(
      {
        what,
        state: () => fineTuneState(TokenClassifier.init(random.key(run.seed + 1), encoder, classes)),
        step: fineTuneStep<Batch, TokenClassifier<CodeStem>>({
          layers: mtm.encoder.layers,
          layerDecay,
          prepare({ codes, labels }, key) {
            const mixed = cutMix(key, unsqueeze(codes, 1), smoothTargets(labels, classes, 0), cutmix);
            return { input: squeeze(mixed.x, 1), targets: mixed.targets };
          },
        }),
        size: known.length,
        prepare: (indices) => {
          const picked = Array.from(indices, (i) => known[i]!);
          return { codes: rows(all, picked), labels: tensor(Int32Array.from(picked, (i) => images.labels[i]!)) };
        },
        steps,
        batch,
        lr,
      },
      run,
    );
    const classify = compile((m: TokenClassifier<CodeStem>, codes: Tensor) => argmax(m.forward(codes)));
    let right = 0;
    for (let from = 0; from < test.size; from += 250) {
      const indices = Array.from({ length: Math.min(250, test.size - from) }, (_, i) => from + i);
      using codes = rows(seen, indices);
      using found = classify(model, codes);
      for (const [i, c] of found.data().entries()) right += +(Number(c) === test.labels[from + i]);
    }
    disposeTree(model);
    return right / test.size;
  };
  return {
    pretrained: await accuracyFrom('fine-tuning', pretrained.model.encoder, finetune.layerDecay),
    scratch: await accuracyFrom('from scratch', newModel().encoder, 1),
    maskedLoss,
  };
}
