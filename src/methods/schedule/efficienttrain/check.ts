/**
 * The check at small scale: `node check.js --data fashion --seed 0` trains the same model with full-size images, with EfficientTrain, and with the
 * controls, and prints accuracies and step times as JSON. `--data cifar10 --folder <sheets>` is the larger one, for a GPU. `--arms` takes some of them:
 * `node check.js --merge <files>` puts what such runs printed together. Progress goes to stderr.
 */
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { firstImages, type ImageSet, openCifarSheets, openFashion, packImages } from '../../../data/index.ts';
import { disposeTree } from '../../../tensor/index.ts';
import { figuresOf, joinArms, readRuns } from '../../seeds.ts';
import { type ArmResult, armsOf, type CheckReport, reportOf } from './check-report.ts';
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
    arms: { type: 'string' },
    threads: { type: 'string' },
    precision: { type: 'string', default: 'f32' },
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
const { batch, sides, model, recipe } = experiment;
const size = images.shape[0];
const epochs = Number(values.epochs ?? experiment.epochs);
const steps = Math.floor(images.size / batch) * epochs;
const arms = armsOf(sides, size, model.patch, steps);
const seed = Number(values.seed);
const { precision } = values;
if (precision !== 'f32' && precision !== 'bf16') throw new Error(`[efficienttrain] precision '${precision}': use f32 or bf16`);

const setting = { data: values.data, seed, epochs, precision, images: images.size, testImages: test.size, steps };
const results: ArmResult[] = [];
for (const name of values.arms?.split(',') ?? Object.keys(arms)) {
  const arm = arms[name];
  if (!arm) throw new Error(`[efficienttrain] there is no arm '${name}'; use ${Object.keys(arms).join(', ')}`);
  const schedule = createSchedule(Config.parse(arm.config));
  const trained = await trainVit({
    images,
    schedule,
    steps: arm.steps,
    batch,
    model,
    recipe,
    seed,
    precision,
    measure: true,
    ...(values.threads && { threads: Number(values.threads) }),
  });
  const accuracy = await accuracyOf(trained.average ?? trained.model, test, trained.statistics);
  disposeTree([trained.model, trained.average]);
  const [stepSeconds, typicalSeconds] = (['sum', 'typical'] as const).map((kind) =>
    trained.parts.reduce((sum, part) => sum + part.stepSeconds![kind], 0),
  ) as [number, number];
  const { loss, seconds, parts } = trained;
  const plannedPeakBytes = Math.max(...parts.map((part) => part.plannedPeakBytes));
  results.push({ name, accuracy, loss, steps: arm.steps, stepSeconds, typicalSeconds, seconds, plannedPeakBytes, parts });
  console.error(
    `${name}: accuracy ${(100 * accuracy).toFixed(2)} %, loss ${loss.toFixed(3)}, ${arm.steps} steps in ${stepSeconds.toFixed(1)} s, in all ${seconds.toFixed(1)} s`,
  );
  // after every arm, so that a run that is cut short has told what it knows; the last line has all
  console.log(JSON.stringify(reportOf({ setting, arms: results })));
}
