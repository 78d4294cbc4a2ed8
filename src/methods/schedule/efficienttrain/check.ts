/**
 * The check at small scale: `node check.js --data fashion --seed 0` trains the same model with full-size images, with EfficientTrain, and with the
 * controls, and prints accuracies and step times as JSON. `--data cifar10 --folder <sheets>` is the larger one. Progress goes to stderr.
 */
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { type ImageSet, openCifarSheets, openFashion, packImages, subset } from '../../../data/index.ts';
import { disposeTree } from '../../../tensor/index.ts';
import { Config, createSchedule, type EfficientTrainConfig } from './config.ts';
import { type Experiment, experiments } from './presets.ts';
import { accuracyOf, type TrainedVit, trainVit } from './train.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: 'fashion' },
    folder: { type: 'string', default: '../shared/data/cifar10' },
    seed: { type: 'string', default: '0' },
    images: { type: 'string' },
    epochs: { type: 'string' },
    arms: { type: 'string' },
  },
});
const experiment: Experiment | undefined = experiments[values.data as keyof typeof experiments];
if (!experiment) throw new Error(`[efficienttrain] there is no check on '${values.data}'; use ${Object.keys(experiments).join(' or ')}`);

const open = (split: 'train' | 'test'): Promise<ImageSet> =>
  values.data === 'fashion' ? openFashion(split).then((set) => packImages(set)) : openCifarSheets(values.folder, { split });
const [whole, test] = await Promise.all([open('train'), open('test')]);
const images = values.images
  ? subset(
      whole,
      Uint32Array.from({ length: Number(values.images) }, (_, i) => i),
    )
  : whole;
const { batch, sides, model, recipe } = experiment;
const size = images.shape[0];
const steps = Math.floor(images.size / batch) * Number(values.epochs ?? experiment.epochs);
const shares = sides.map((side) => side / size);
const meanCost = shares.reduce((sum, share) => sum + share ** 2, 0) / shares.length;

/** What is compared: configurations of the method, and for how many steps. */
const arms: Record<string, { config: Partial<EfficientTrainConfig>; steps: number }> = {
  baseline: { config: { sides: [1], augmentation: 'constant' }, steps },
  efficienttrain: { config: { sides: shares }, steps },
  // the same pixels chosen without a filter: frequencies alias
  nearest: { config: { sides: shares, resize: 'nearest' }, steps },
  // rising augmentation alone
  'full-size': { config: { sides: shares.map(() => 1) }, steps },
  // as many pixels as the baseline sees
  'equal-cost': { config: { sides: shares }, steps: Math.round(steps / meanCost) },
};
const names = values.arms?.split(',') ?? Object.keys(arms);

const results: (Pick<TrainedVit, 'loss' | 'seconds' | 'parts'> & {
  name: string;
  accuracy: number;
  steps: number;
  stepSeconds: number;
  typicalSeconds: number;
  plannedPeakBytes: number;
})[] = [];
for (const name of names) {
  const arm = arms[name];
  if (!arm) throw new Error(`[efficienttrain] there is no arm '${name}'; use ${Object.keys(arms).join(', ')}`);
  const schedule = createSchedule(Config.parse(arm.config));
  const trained = await trainVit({ images, schedule, steps: arm.steps, batch, model, recipe, seed: Number(values.seed), measure: true });
  const accuracy = await accuracyOf(trained.average ?? trained.model, test, trained.statistics);
  disposeTree([trained.model, trained.average]);
  const [stepSeconds, typicalSeconds] = (['sum', 'typical'] as const).map((kind) =>
    trained.parts.reduce((sum, part) => sum + part.stepSeconds![kind], 0),
  ) as [number, number];
  const plannedPeakBytes = Math.max(...trained.parts.map((part) => part.plannedPeakBytes));
  const result = {
    name,
    accuracy,
    loss: trained.loss,
    steps: arm.steps,
    stepSeconds,
    typicalSeconds,
    seconds: trained.seconds,
    plannedPeakBytes,
    parts: trained.parts,
  };
  results.push(result);
  console.error(
    `${name}: accuracy ${(100 * accuracy).toFixed(2)} %, ${arm.steps} steps in ${stepSeconds.toFixed(1)} s, in all ${trained.seconds.toFixed(1)} s`,
  );
}

/** A measure of two arms, where both were run. */
type Result = (typeof results)[number];
function compare(a: string, b: string, measure: (a: Result, b: Result) => number): number | null {
  const [x, y] = [a, b].map((name) => results.find((result) => result.name === name));
  return x && y ? measure(x, y) : null;
}
const gain = (a: string, b: string): number | null => compare(a, b, (x, y) => 100 * (x.accuracy - y.accuracy));
const report = {
  data: values.data,
  seed: Number(values.seed),
  images: images.size,
  testImages: test.size,
  steps,
  meanCost,
  arms: results,
  stepTimeRatio: compare('efficienttrain', 'baseline', (x, y) => x.stepSeconds / y.stepSeconds),
  typicalTimeRatio: compare('efficienttrain', 'baseline', (x, y) => x.typicalSeconds / y.typicalSeconds),
  /** Points of accuracy. */
  gain: gain('efficienttrain', 'baseline'),
  gainOverNearest: gain('efficienttrain', 'nearest'),
  gainOverRisingAugmentation: gain('efficienttrain', 'full-size'),
  gainAtEqualCost: gain('equal-cost', 'baseline'),
};
console.log(JSON.stringify(report));
