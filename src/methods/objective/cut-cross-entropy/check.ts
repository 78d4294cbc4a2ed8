/**
 * The check at small scale: `node check.js --seed 0` trains the same small GPT-2 on Tiny Shakespeare with cross-entropy over whole logits and with
 * cut cross-entropy, exact and with bf16's filter, and prints the distances between the loss curves as JSON: of `arms` from new weights, of `tuned`
 * from what the first arm ends with, `--tune` steps at a tenth of the rate. Arithmetic is f32, so that the objective alone makes the difference; with
 * `--compute bf16` curves part by rounding, and a GPU has the filter. An arm may name the exponent of its threshold: `cce@-16`. On the default
 * device; progress goes to stderr.
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import '../../../device/index.ts';
import { DataRandom } from '../../../data/index.ts';
import { AdamW, type AdamWState, Gpt2, mixedPrecision, warmupCosine } from '../../../nn/index.ts';
import { compile, defaultDevice, disposeTree, linearCrossEntropyGradients, random, type Tensor, tensor } from '../../../tensor/index.ts';
import type { Objective } from '../../contracts/objective.ts';
import method from './index.ts';
import { encodePieces } from './pieces.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '0' },
    steps: { type: 'string', default: '2000' },
    tune: { type: 'string', default: '500' },
    folder: { type: 'string', default: '../shared/data' },
    compute: { type: 'string', default: 'f32' },
    arms: { type: 'string', default: 'naive,exact,cce,kahan_full_c' },
    vocabulary: { type: 'string', default: '4096' },
  },
});
const [seed, steps, tune] = [Number(values.seed), Number(values.steps), Number(values.tune)];
const files = [`${values.folder}/tinyshakespeare/input.txt`, `${values.folder}/gpt2-bpe/gpt2_merges.txt`];
const missing = files.find((file) => !existsSync(file));
if (missing) {
  console.error(`[cut-cross-entropy] skipped: ${missing} is not there; give the folder with --folder`);
  process.exit();
}

const config = { vocabulary: Number(values.vocabulary), context: 64, width: 64, layers: 2, heads: 4 };
const [batch, lr] = [8, 1e-3];
const ids = encodePieces(readFileSync(files[0]!, 'utf8'), readFileSync(files[1]!, 'utf8'), config.vocabulary);

/** Windows of step `index`: ids and those that follow, [batch, context]. */
function windows(index: number): [Tensor, Tensor] {
  const dice = new DataRandom(seed, index);
  const starts = Array.from({ length: batch }, () => dice.below(ids.length - config.context - 1));
  const rows = (shift: number): Tensor =>
    tensor(Int32Array.from(starts.flatMap((s) => [...ids.subarray(s + shift, s + shift + config.context)])), {
      shape: [batch, config.context],
    });
  return [rows(0), rows(1)];
}

type State = { model: Gpt2; optimizer: AdamWState<Gpt2> };
interface Arm {
  name: string;
  /** Means of 50 steps. */
  curve: number[];
  /** What it ends with. */
  model: Gpt2;
  /** Share of the tiles that the filter leaves out, at the start and at the end. */
  skipped: number[];
  seconds: number;
}
const compute = values.compute === 'bf16' ? 'bf16' : 'f32';
const precision = mixedPrecision({ compute });
const copyOf = compile((model: Gpt2) => model);
const adamw = new AdamW({ weightDecay: 0.1 });

interface Phase {
  model: Gpt2;
  /** Steps, the first of which takes this batch. */
  steps: number;
  from: number;
  lr: number;
}

async function train(
  name: string,
  objective: Pick<Objective, 'loss'>,
  options: Parameters<typeof linearCrossEntropyGradients>[3],
  { model, steps, from, lr }: Phase,
): Promise<Arm> {
  const step = compile(
    ({ model, optimizer }: State, x: Tensor, y: Tensor, rate: Tensor) => {
      const [loss, gradients] = precision.valueAndGrad((m: Gpt2) => objective.loss(m.features(x), m.tokens.table, y))(model);
      const next = adamw.update(model, gradients, optimizer, rate);
      return { state: { model: next.model, optimizer: next.state } as State, loss };
    },
    { donate: [0] },
  );
  const share = compile((model: Gpt2, x: Tensor, y: Tensor) => {
    const m = precision.cast(model);
    return linearCrossEntropyGradients(m.features(x), m.tokens.table, y, options).skipped;
  });
  const rate = warmupCosine({ peak: lr, warmup: Math.min(100, steps), steps });
  let state: State = { model: copyOf(model), optimizer: adamw.init(model) };
  const skipped = [share(state.model, ...windows(0)).item()];
  const losses: number[] = [];
  const began = performance.now();
  for (let i = 0; i < steps; i++) {
    const [x, y] = windows(from + i);
    const done = step(state, x, y, tensor(rate(i)));
    losses.push(done.loss.item());
    state = done.state;
    disposeTree([x, y, done.loss]);
    if ((i + 1) % 500 === 0) console.error(`${name}: step ${i + 1}, loss ${losses.at(-1)!.toFixed(4)}`);
  }
  const seconds = (performance.now() - began) / 1000;
  skipped.push(share(state.model, ...windows(0)).item());
  const curve = Array.from({ length: Math.floor(steps / 50) }, (_, i) => losses.slice(50 * i, 50 * i + 50).reduce((a, b) => a + b) / 50);
  disposeTree(state.optimizer);
  return { name, curve, model: state.model, skipped, seconds };
}

/** `naive`, or a preset and the exponent of its threshold: bf16's, whatever the arithmetic. */
function armOf(name: string): (phase: Phase) => Promise<Arm> {
  const { config, create } = method;
  if (name === 'naive') return (phase) => train(name, { loss: create(config.parse({})).meaning }, { preset: 'exact' }, phase);
  const [preset, exponent = '-12'] = name.split('@');
  const { data: options } = config.safeParse({ preset, filterEps: 2 ** Number(exponent) });
  if (!options) {
    const presets = config.shape.preset.unwrap().options.join(', ');
    throw new Error(
      `[cut-cross-entropy] there is no arm '${name}'; use naive, ${presets}, or one with an exponent of at most 0, as cce@-16`,
    );
  }
  return (phase) => train(name, create(options), options, phase);
}
const arms = values.arms.split(',').map(armOf);

async function compare(phase: Phase) {
  const made: Arm[] = [];
  for (const arm of arms) made.push(await arm(phase));
  const naive = made.find(({ name }) => name === 'naive')?.curve ?? [];
  const report = made.map((arm) => ({
    name: arm.name,
    deviation: Math.max(...arm.curve.map((loss, i) => Math.abs(loss - (naive[i] ?? Number.NaN)))),
    lastDeviation: Math.abs(arm.curve.at(-1)! - (naive.at(-1) ?? Number.NaN)),
    firstLoss: arm.curve[0]!,
    lastLoss: arm.curve.at(-1)!,
    skippedFirst: arm.skipped[0]!,
    skippedLast: arm.skipped[1]!,
    seconds: arm.seconds,
  }));
  return { report, model: made[0]!.model };
}
const fresh = compile(() => Gpt2.init(random.key(seed), config))();
const { report: trained, model } = await compare({ model: fresh, steps, from: 0, lr });
const tuned = tune > 0 ? (await compare({ model, steps: tune, from: steps, lr: lr / 10 })).report : [];
console.log(
  JSON.stringify({ setting: { seed, steps, tune, compute, device: defaultDevice().name, pieces: ids.length }, arms: trained, tuned }),
);
