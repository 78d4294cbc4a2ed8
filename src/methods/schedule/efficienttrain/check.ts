/**
 * The check at small scale: `node check.js --data fashion --seed 0` trains the same model with full-size images, with EfficientTrain, and with the
 * controls, and prints accuracies and step times as JSON. `--data cifar10 --folder <sheets>` is the larger one, for a GPU. `--arms` takes some of them, `--seed 0,1,2` several seeds,
 * `--together` trains all of them side by side, which keeps a GPU busy and measures no times. `--crop` is the least share of an image that is seen, 0 for
 * whole images; `--batch` images make a step, which decides what of a GPU's time small ones save. `--save <folder>` saves each arm as soon as it is done;
 * started again, the check goes on from there. `--merge <files>` puts what such runs printed together.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { firstImages, type ImageSet, openCifarSheets, openFashion, packImages } from '../../../data/index.ts';
import { disposeTree } from '../../../tensor/index.ts';
import { runArms, type Tell } from '../../arms.ts';
import { figuresOf, joinArms, readRuns } from '../../seeds.ts';
import { type ArmResult, armsOf, type CheckReport, reportOf, type Setting } from './check-report.ts';
import { Config, createSchedule } from './config.ts';
import { type Experiment, experiments } from './presets.ts';
import { accuracyOf, trainVit } from './train.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: 'string', default: 'fashion' },
    folder: { type: 'string', default: '../shared/data/cifar10' },
    seed: { type: 'string', default: '0' },
    epochs: { type: 'string' },
    batch: { type: 'string' },
    crop: { type: 'string' },
    arms: { type: 'string' },
    threads: { type: 'string' },
    precision: { type: 'string', default: 'f32' },
    save: { type: 'string' },
    together: { type: 'boolean', default: false },
    merge: { type: 'boolean', default: false },
  },
});
if (values.merge) {
  console.log(JSON.stringify(figuresOf(joinArms(readRuns<CheckReport>(positionals)).map(reportOf))));
  process.exit();
}
const experiment: Experiment | undefined = experiments[values.data as keyof typeof experiments];
if (!experiment) throw new Error(`[efficienttrain] there is no check on '${values.data}'; use ${Object.keys(experiments).join(' or ')}`);

const open = (split: 'train' | 'test', limit: number): Promise<ImageSet> =>
  values.data === 'fashion'
    ? openFashion(split).then((set) => packImages(firstImages(set, limit)))
    : openCifarSheets(values.folder, { split, limit });
const [images, test] = await Promise.all([open('train', 20_000), open('test', 5_000)]);
const { sides, model } = experiment;
const recipe = { ...experiment.recipe, ...(values.crop !== undefined && { resizedCrop: Number(values.crop) }) };
const size = images.shape[0];
const epochs = Number(values.epochs ?? experiment.epochs);
const batch = Number(values.batch ?? experiment.batch);
const steps = Math.floor(images.size / batch) * epochs;
const arms = armsOf(sides, size, model.patch, steps);
const { precision, together } = values;
if (precision !== 'f32' && precision !== 'bf16') throw new Error(`[efficienttrain] precision '${precision}': use f32 or bf16`);
const names = values.arms?.split(',') ?? Object.keys(arms);
const strange = names.find((name) => !arms[name]);
if (strange !== undefined) throw new Error(`[efficienttrain] there is no arm '${strange}'; use ${Object.keys(arms).join(', ')}`);

async function runArm(name: string, seed: number, work: string, tell: Tell): Promise<ArmResult> {
  const arm = arms[name]!;
  const schedule = createSchedule(Config.parse(arm.config));
  const threads = values.threads !== undefined ? Number(values.threads) : together ? 1 : undefined;
  const trained = await trainVit({
    images,
    schedule,
    steps: arm.steps,
    batch,
    model,
    recipe,
    seed,
    precision: precision as 'f32' | 'bf16',
    measure: !together,
    onProgress: ({ step, steps: all, loss }) => tell('training', step, all, loss),
    // a run that goes on from a checkpoint has not timed its first steps: where they are timed, an arm begins anew
    ...(values.save !== undefined && together && { checkpoint: join(work, name) }),
    ...(threads !== undefined && { threads }),
  });
  const accuracy = await accuracyOf(trained.average ?? trained.model, test, trained.statistics, Math.round((arm.judgedAt ?? 1) * size));
  disposeTree([trained.model, trained.average]);
  const total = (kind: 'sum' | 'typical'): number | null =>
    together ? null : trained.parts.reduce((sum, part) => sum + part.stepSeconds![kind], 0);
  const { loss, seconds, parts } = trained;
  const plannedPeakBytes = Math.max(...parts.map((part) => part.plannedPeakBytes));
  const [stepSeconds, typicalSeconds] = [total('sum'), total('typical')];
  return { name, accuracy, loss, steps: arm.steps, stepSeconds, typicalSeconds, seconds, plannedPeakBytes, parts };
}

const { resizedCrop } = recipe;
await runArms<ArmResult, Omit<Setting, 'seed'>>({
  method: 'efficienttrain',
  setting: { data: values.data, epochs, batch, resizedCrop, precision, images: images.size, testImages: test.size, steps },
  seeds: values.seed.split(',').map(Number),
  names,
  steps: (name) => arms[name]!.steps,
  together,
  save: values.save,
  run: runArm,
  onArm(run, last) {
    if (last) {
      const { name, accuracy, loss, stepSeconds, seconds } = last;
      const took = `${stepSeconds === null ? '' : `steps in ${stepSeconds.toFixed(1)} s, `}in all ${seconds.toFixed(1)} s`;
      console.error(`${name}, seed ${run.setting.seed}: accuracy ${(100 * accuracy).toFixed(2)} %, loss ${loss.toFixed(3)}, ${took}`);
    }
    console.log(JSON.stringify(reportOf(run)));
  },
});
