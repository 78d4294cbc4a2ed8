/**
 * SeiT++: train vision models from a store of discrete tokens that takes about 1 % of the images' bytes. Lee et al. 2024, arXiv 2312.10105;
 * builds on SeiT, Park et al. 2023, arXiv 2303.11114.
 */
import '../../../device/index.ts';
import { defineMethod } from '../../method.ts';
import { fitBudget } from './budget.ts';
import { Config } from './config.ts';
import { learnTokenizer } from './learn.ts';
import { configOfStore, planPredict, planStages } from './plan.ts';
import { predictClasses } from './predict.ts';
import { reconstructImages } from './reconstruct.ts';
import { writeStore } from './store.ts';
import { storeBytes } from './store-layout.ts';
import { trainClassifier } from './train.ts';

export default defineMethod({
  id: 'seit-plus-plus',
  contract: 'codec',
  title: 'Images as stored tokens, and vision transformers trained from them',
  paper: {
    title: 'SeiT++: Masked Token Modeling Improves Storage-efficient Training',
    authors: 'Lee et al.',
    year: 2024,
    arxiv: '2312.10105',
    venue: 'ECCV 2024',
  },
  saves: ['data'],
  config: Config,
  fit: fitBudget,
  bytes: storeBytes,
  configOf: configOfStore,
  create: (config) => ({
    learn: (images, files, run) => learnTokenizer(images, config, files.tokenizer, run),
    store: (images, files, run) => writeStore(images, files, config.codec, run),
    train: (files, run) => trainClassifier(files, config, run),
    predict: (images, files, run) => predictClasses(images, files.model, run),
    reconstruct: (images, files, run) => reconstructImages(images, files.tokenizer, run),
    plan: (target, options) => planStages(config, target, options),
    planPredict: (target, files, options) => planPredict(target, files.model, options),
  }),
});
