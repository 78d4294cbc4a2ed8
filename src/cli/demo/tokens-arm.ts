/** The arm that stores tokens: learn a tokenizer, write the store, train from the store alone, and judge on pixels. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileBytes, PeakMeter } from '../../bytes/index.ts';
import { type PackedImages, packImages, subset } from '../../data/index.ts';
import { TokenStore } from '../../data/tokens/index.ts';
import type { Codec, CodecFiles, Run } from '../../methods/index.ts';
import { modelInfo } from '../../train/index.ts';
import { fitCodec, openSplit } from './data.ts';
import type { ArmResult, Job } from './job.ts';
import { kept, secondsOf, type Tell } from './kept.ts';
import { shownImages } from './pictures.ts';
import { Recorder } from './recorder.ts';

/** Share of the configured steps that a trial takes to time a step. */
const trialEffort = 0.01;
const leastEffort = 0.005;

/** The share of a stage's configured steps that takes `seconds`: from a short trial of the stage with files of its own. */
async function effortFor(seconds: number, stage: (run: Run) => Promise<void>, run: Run): Promise<number> {
  const times: number[] = [];
  await stage({ ...run, effort: trialEffort, onStep: () => void times.push(performance.now()) });
  const steps = times.length;
  // The first step also compiles.
  const perStep = steps > 2 ? (times.at(-1)! - times[0]!) / (steps - 1) / 1000 : Number.POSITIVE_INFINITY;
  return Math.min(1, Math.max(leastEffort, (trialEffort * seconds) / (perStep * steps)));
}

export async function tokensArm(job: Job, tell: Tell): Promise<ArmResult> {
  const { folder, seed, seconds } = job;
  const test = await openSplit('test', job);
  const images = await openSplit('train', job);
  const { codec } = await fitCodec(job, images);
  const files = {
    tokenizer: join(folder, 'tokenizer.safetensors'),
    store: join(folder, 'images.tokens'),
    model: join(folder, 'tokens.safetensors'),
  };
  let plannedPeakBytes = 0;
  const run: Run = {
    seed,
    signal: tell.signal,
    onPlan: (_, bytes) => {
      plannedPeakBytes = Math.max(plannedPeakBytes, bytes);
    },
  };
  /** A stage at the effort that its seconds allow. */
  const timed = (name: 'tokenizer' | 'classifier', stage: (trial: boolean) => (run: Run) => Promise<void>) =>
    kept(join(folder, `${name}.plan.json`), async () => {
      const trial = join(folder, 'trial');
      mkdirSync(trial, { recursive: true });
      const effort = await effortFor(seconds[name], stage(true), { seed, signal: tell.signal });
      rmSync(trial, { recursive: true, force: true });
      return { effort };
    });
  const inTrial = (trial: boolean, path: string): string => (trial ? join(folder, 'trial', 'trial.safetensors') : path);

  const learn = (trial: boolean) => (how: Run) => codec.learn(images, { tokenizer: inTrial(trial, files.tokenizer) }, how);
  const { effort: learnEffort } = await timed('tokenizer', learn);
  using meter = new PeakMeter();
  const { prepareSeconds } = await kept(join(folder, 'prepared.json'), async () => ({
    prepareSeconds: await secondsOf(join(folder, 'tokenizer.seconds.json'), async () => {
      await learn(false)({ ...run, effort: learnEffort, ...progressOf(tell, 'tokenizer') });
      await codec.store(images, files, { ...run, onProgress: (_, done, total) => tell.progress('store', done, total) });
    }),
  }));

  const train = (trial: boolean) => (how: Run) => codec.train({ store: files.store, model: inTrial(trial, files.model) }, how);
  const { effort } = await timed('classifier', train);
  const recorder = new Recorder();
  const trainSeconds = await secondsOf(join(folder, 'classifier.seconds.json'), () =>
    train(false)({ ...run, effort, ...progressOf(tell, 'train', recorder) }),
  );
  const { peakBytes } = meter.stop();

  const found = await codec.predict(test, files, { seed, signal: tell.signal });
  const right = found.reduce((count, label, i) => count + Number(label === test.labels[i]), 0);
  return {
    arm: 'tokens',
    budget: job.budget,
    images: images.size,
    fileBytes: fileBytes(files.store).apparent,
    accuracy: right / test.size,
    prepareSeconds,
    trainSeconds,
    trainSteps: recorder.steps,
    plannedPeakBytes,
    measuredPeakBytes: peakBytes,
    parameters: (await modelInfo(files.model)).tensorBytes / 4,
    form: formOf(files.store),
    curve: recorder.curve,
    pictures: job.pictures ? await drawn(codec, test, files, { seed }) : null,
  };
}

/** Progress of one stage, with its loss. */
function progressOf(tell: Tell, what: string, recorder?: Recorder): Pick<Run, 'onProgress' | 'onStep'> {
  let note = '';
  return {
    onStep(_, step, { loss = Number.NaN }) {
      note = `loss ${loss.toFixed(3)}`;
      recorder?.add(step, loss);
    },
    onProgress: (_, done, total) => tell.progress(what, done, total, note),
  };
}

/** '4 x 4 tokens of 512' where the store is a token store. */
function formOf(path: string): string {
  using store = new TokenStore(path);
  return `${store.grid.join(' x ')} tokens of ${store.K}`;
}

/** The shown test images as their tokens are drawn, where the codec draws. */
async function drawn(codec: Codec, test: PackedImages, files: Pick<CodecFiles, 'tokenizer'>, run: Run): Promise<ArmResult['pictures']> {
  const shown = await packImages(subset(test, shownImages(test.labels)));
  const pixels = await codec.reconstruct?.(shown, files, run);
  const [height, width, channels] = shown.shape;
  if (!pixels || channels !== 1) return null;
  return { height, width, pixels: Buffer.from(pixels).toString('base64') };
}
