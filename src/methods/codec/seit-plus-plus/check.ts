/**
 * The checks at small scale, each printed as one line of JSON:
 *
 *     node check.js arms --data cifar10 --seed 0 --arms tokens,subset   tokens, pixels of the same bytes, token-domain augmentation
 *     node check.js demo --seed 0 --arms tokens,tokenAdapt,masked       the same with the demo's configuration
 *     node check.js tokenAdapt --seed 0                                 codes of transformed images
 *     node check.js maskedTokens --seed 0                               pre-training where few labels are known
 *     node check.js --merge <files>                                     what such runs printed, over arms and seeds
 *
 * `--save <folder>` saves each arm as soon as it is done; started again, the check goes on from there. `--images` takes the first so many, `--effort`
 * a share of the steps, `--epochs` trains the arms for longer, `--precision bf16` in half precision; `--scale`, `--affine` and `--maps` are the
 * options of `armsCheck`, to be chosen by `--held-out`, which judges on the last fifth of the training images and learns from the others; `--seed 0,1,2`
 * trains several seeds, `--together` all arms and seeds side by side, which keeps a GPU busy. Progress goes to stderr.
 */
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { firstImages, type ImageSet, openCifarSheets, openFashion, packImages, subset } from '../../../data/index.ts';
import { runArms, type Tell } from '../../arms.ts';
import type { Run } from '../../contracts/run.ts';
import { figuresOf, joinArms, readRuns, type SeedRun } from '../../seeds.ts';
import { type Arm, type ArmName, armNames, armSteps, armsFigures, TokenArms } from './arms-check.ts';
import { armsCheck, type CheckData, demoCheck, maskedTokenCheck, tokenAdaptCheck } from './checks.ts';
import { checkMtm, type MtmFigures } from './mtm-check.ts';
import { type AdaptFigures, checkTokenAdapt } from './token-adapt-check.ts';

const checks = ['arms', 'demo', 'tokenAdapt', 'maskedTokens'];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: 'string', default: 'fashion' },
    folder: { type: 'string', default: '../shared/data/cifar10' },
    seed: { type: 'string', default: '0' },
    arms: { type: 'string' },
    images: { type: 'string', default: '20000' },
    effort: { type: 'string', default: '1' },
    epochs: { type: 'string' },
    precision: { type: 'string', default: 'f32' },
    scale: { type: 'string' },
    affine: { type: 'string' },
    maps: { type: 'string' },
    'held-out': { type: 'boolean', default: false },
    save: { type: 'string' },
    together: { type: 'boolean', default: false },
    merge: { type: 'boolean', default: false },
  },
});
/** Checks of one part are an arm of their own. */
type AnyArm = Arm | ({ name: string } & (AdaptFigures | MtmFigures));
const reportOf = (run: SeedRun<AnyArm>): SeedRun => armsFigures(run as SeedRun<Arm>);
if (values.merge) {
  console.log(JSON.stringify(figuresOf(joinArms(readRuns<SeedRun<AnyArm>>(positionals)).map(reportOf))));
  process.exit();
}
const [check = ''] = positionals;
if (positionals.length !== 1 || !checks.includes(check))
  throw new Error(`[seit-plus-plus] there is no check '${positionals.join(' ')}'; use ${checks.join(' or ')}`);
if (!['fashion', 'cifar10'].includes(values.data))
  throw new Error(`[seit-plus-plus] there is no check on '${values.data}'; use fashion or cifar10`);
const data = values.data as CheckData;
const names = values.arms?.split(',') ?? armNames;
const strange = names.find((name) => !armNames.includes(name as ArmName));
if (strange !== undefined) throw new Error(`[seit-plus-plus] there is no arm '${strange}'; use ${armNames.join(', ')}`);
const seeds = values.seed.split(',').map(Number);
const [effort, asked] = [Number(values.effort), Number(values.images)];
const [epochs, scale, affine, mapEpochs] = [values.epochs, values.scale, values.affine, values.maps].map((asked) =>
  asked === undefined ? undefined : Number(asked),
);
if (!(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0) && asked >= 1 && effort > 0 && effort <= 1 && (epochs ?? 1) > 0))
  throw new RangeError(
    `[seit-plus-plus] seed ${values.seed}, ${values.images} images, effort ${values.effort}, ${values.epochs} epochs; a seed is a whole number from 0, images are 1 or more, effort is a share of the steps above 0, epochs are above 0`,
  );

const { precision } = values;
if (precision !== 'f32' && precision !== 'bf16') throw new Error(`[seit-plus-plus] precision '${precision}': use f32 or bf16`);

const open = (split: 'train' | 'test', limit: number): Promise<ImageSet> =>
  data === 'fashion'
    ? openFashion(split).then((set) => packImages(firstImages(set, limit)))
    : openCifarSheets(values.folder, { split, limit });
const heldOut = values['held-out'];
const known = await open('train', Math.floor(asked));
const images = heldOut ? firstImages(known, Math.floor(0.8 * known.size)) : known;
const test = heldOut
  ? subset(
      known,
      Array.from({ length: known.size - images.size }, (_, i) => images.size + i),
    )
  : await open('test', 5000);

const began = performance.now();
const seconds = (): number => (performance.now() - began) / 1000;
const runOf = (seed: number, tell: Tell): Run => {
  let loss: number | undefined;
  return {
    seed,
    effort,
    onStep(_, __, figures) {
      loss = figures['loss'];
    },
    onProgress: (what, done, total) => tell(what, done, total, loss),
  };
};
const common = {
  method: 'seit-plus-plus',
  setting: {
    check,
    data,
    effort,
    images: images.size,
    testImages: test.size,
    ...Object.fromEntries(Object.entries({ epochs, scale, affine, mapEpochs }).filter(([, asked]) => asked !== undefined)),
    ...(precision !== 'f32' && { precision }),
    ...(heldOut && { heldOut }),
  },
  seeds,
  together: values.together,
  save: values.save,
};
const print = (run: SeedRun<AnyArm>): void => console.log(JSON.stringify({ ...reportOf(run), seconds: seconds() }));

if (check === 'arms' || check === 'demo') {
  const arms = check === 'arms' ? armsCheck(data, { epochs, precision, scale, affine, mapEpochs }) : demoCheck(data, images);
  const shared = new Map<number, TokenArms>();
  await runArms<Arm, typeof common.setting>({
    ...common,
    names,
    steps: () => armSteps(arms, images.size, effort),
    run(name, seed, work, tell) {
      const ofSeed = shared.get(seed) ?? new TokenArms(images, test, arms, work);
      shared.set(seed, ofSeed);
      return ofSeed.run(name as ArmName, runOf(seed, tell));
    },
    onArm(run, arm) {
      if (arm) {
        const { name, fileBytes, accuracy, trainAccuracy } = arm;
        const percent = (x: number): string => `${(100 * x).toFixed(2)} %`;
        console.error(
          `${name}, seed ${run.setting.seed}: ${fileBytes} bytes, accuracy ${percent(accuracy)}, on the training images ${percent(trainAccuracy)}`,
        );
      }
      print(run);
    },
  });
} else {
  const part = check === 'tokenAdapt' ? tokenAdaptCheck(data) : maskedTokenCheck(data);
  await runArms<AnyArm, typeof common.setting>({
    ...common,
    names: [check],
    steps: () => effort * ('steps' in part ? part.steps : part.pretrain.steps + 2 * part.finetune.steps),
    async run(name, seed, _, tell) {
      const run = runOf(seed, tell);
      return { name, ...('steps' in part ? await checkTokenAdapt(images, test, part, run) : await checkMtm(images, test, part, run)) };
    },
    onArm: print,
  });
}
