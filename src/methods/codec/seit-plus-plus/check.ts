/**
 * The checks at small scale, each printed as one line of JSON:
 *
 *     node check.js arms --data cifar10 --seed 0 --arms tokens,subset   tokens, pixels of the same bytes, token-domain augmentation
 *     node check.js demo --seed 0 --arms tokens,tokenAdapt,masked       the same with the demo's configuration
 *     node check.js tokenAdapt --seed 0                                 codes of transformed images
 *     node check.js maskedTokens --seed 0                               pre-training where few labels are known
 *     node check.js --merge <files>                                     what such runs printed, over arms and seeds
 *
 * `--images` takes the first so many, `--effort` a share of the steps, `--seed 0,1,2` several seeds, `--together` trains all arms and seeds
 * side by side, which keeps a GPU busy. Progress goes to stderr.
 */
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { firstImages, type ImageSet, openCifarSheets, openFashion, packImages } from '../../../data/index.ts';
import type { Run } from '../../contracts/run.ts';
import { figuresOf, joinArms, readRuns, type SeedRun } from '../../seeds.ts';
import { type Arm, type ArmName, armNames, armsFigures, checkArms } from './arms-check.ts';
import { armsCheck, type CheckData, demoCheck, maskedTokenCheck, tokenAdaptCheck } from './checks.ts';

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
    together: { type: 'boolean', default: false },
    merge: { type: 'boolean', default: false },
  },
});
if (values.merge) {
  const runs = readRuns<SeedRun<Arm>>(positionals);
  console.log(JSON.stringify(figuresOf(runs.some(({ arms }) => arms.length > 0) ? joinArms(runs).map(armsFigures) : runs)));
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
if (!(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0) && asked >= 1 && effort > 0 && effort <= 1))
  throw new RangeError(
    `[seit-plus-plus] seed ${values.seed}, ${values.images} images, effort ${values.effort}; a seed is a whole number from 0, images are 1 or more, effort is a share of the steps above 0`,
  );

const open = (split: 'train' | 'test', limit: number): Promise<ImageSet> =>
  data === 'fashion'
    ? openFashion(split).then((set) => packImages(firstImages(set, limit)))
    : openCifarSheets(values.folder, { split, limit });
const [images, test] = await Promise.all([open('train', Math.floor(asked)), open('test', 5000)]);
const began = performance.now();
const seconds = (): number => (performance.now() - began) / 1000;

async function runSeed(seed: number): Promise<void> {
  const run: Run = {
    seed,
    effort,
    onStep: (what, step, { loss }) => void (step % 500 === 0 && console.error(`${what}: step ${step}, loss ${loss?.toFixed(4)}`)),
  };
  const setting = { check, data, seed, effort, images: images.size, testImages: test.size };
  if (check !== 'arms' && check !== 'demo') {
    const figures = await (check === 'tokenAdapt' ? tokenAdaptCheck : maskedTokenCheck)(data, images, test, run);
    console.log(JSON.stringify({ setting, arms: [], ...figures, seconds: seconds() }));
    return;
  }
  // a line after every arm, so that a run that is cut short has told what it knows; the last has all
  const arms: Arm[] = [];
  const onArm = (arm: Arm): void => {
    arms.push(arm);
    const { name, fileBytes, accuracy } = arm;
    console.error(`${name}, seed ${seed}: ${fileBytes} bytes, accuracy ${(100 * accuracy).toFixed(2)} %, after ${seconds().toFixed(0)} s`);
    console.log(JSON.stringify({ ...armsFigures({ setting, arms }), seconds: seconds() }));
  };
  await checkArms(images, test, check === 'arms' ? armsCheck(data) : demoCheck(data, images), names as ArmName[], run, {
    onArm,
    together: values.together,
  });
}
if (values.together) await Promise.all(seeds.map(runSeed));
else for (const seed of seeds) await runSeed(seed);
