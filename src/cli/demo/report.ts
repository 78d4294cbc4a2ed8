/** The demo's report. */
import { printBytes, printExactBytes } from '../../bytes/index.ts';
import { openFashion, packImages } from '../../data/index.ts';
import { type Block, report, type Series } from '../../report/index.ts';
import { machineLine } from '../machine.ts';
import { versions } from '../package.ts';
import { type ArmResult, armNames, armTitles, type Job } from './job.ts';
import { rowsPng, samplePictures } from './pictures.ts';

export interface DemoSummary {
  results: readonly ArmResult[];
  /** Training and test pictures that were looked at. */
  images: Job['images'];
  /** The main budget, in bytes. */
  budget: number;
  seconds: number;
  seed: number;
  method: string;
  command: string;
}

const count = (n: number): string => n.toLocaleString('en');
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** The report as an HTML document. */
export async function demoReport({ results, images, budget, seconds, seed, method, command }: DemoSummary): Promise<string> {
  const main = results.filter((one) => one.budget === budget);
  const best = main.reduce((a, b) => (b.accuracy > a.accuracy ? b : a));
  const used = versions();
  return report({
    title: `What ${printExactBytes(budget)} can teach`,
    intro: `Three ways to keep ${count(images.train)} pictures of clothes in ${printExactBytes(budget)}, and what a classifier learns from each: tokens of all of them (method ${method}), raw pixels of some, small pixels of all. Each trains the same transformer for the same time from its file alone, and is judged on the same ${count(images.test)} test pictures.`,
    sections: [
      { title: 'The comparison', blocks: [comparison(main, main.indexOf(best))] },
      { title: 'Accuracy against bytes', blocks: [accuracyPlot(results, budget)] },
      { title: 'What was stored', blocks: await pictures(results) },
      { title: 'Training', blocks: [curves(main)] },
      { title: 'All budgets', blocks: [everything(results)] },
      {
        title: 'How each number was made',
        blocks: [
          { kind: 'text', text: howMade(images) },
          { kind: 'code', text: command },
        ],
      },
    ],
    footer: `${command} (seed ${seed}, ${seconds.toFixed(0)} s)\n\n${machineLine()}\n\nthimble ${used['thimble']}, Node.js ${used['node']}`,
  });
}

function comparison(main: readonly ArmResult[], best: number): Block {
  return {
    kind: 'table',
    header: ['stored', 'accuracy', 'file bytes', 'images', 'bytes each', 'train s', 'planned peak', 'measured peak'],
    rows: main.map((arm) => [
      armTitles[arm.arm],
      percent(arm.accuracy),
      count(arm.fileBytes),
      count(arm.images),
      (arm.fileBytes / arm.images).toFixed(1),
      arm.trainSeconds.toFixed(1),
      printBytes(arm.plannedPeakBytes),
      printBytes(arm.measuredPeakBytes),
    ]),
    strong: [best],
  };
}

function accuracyPlot(results: readonly ArmResult[], budget: number): Block {
  const series: Series[] = armNames.map((name) => ({
    name: armTitles[name],
    points: results
      .filter(({ arm }) => arm === name)
      .sort((a, b) => a.fileBytes - b.fileBytes)
      .map(({ fileBytes, accuracy }) => ({ x: fileBytes, y: 100 * accuracy })),
  }));
  return {
    kind: 'plot',
    title: 'Test accuracy against file bytes',
    x: { label: 'file bytes', unit: 'bytes', log: true },
    y: { label: 'accuracy, %' },
    series: series.filter(({ points }) => points.length > 0),
    caption: `Classifiers at ${printExactBytes(budget)} were trained longest; the other budgets had less time (see the table of all budgets).`,
  };
}

/** The shown test pictures as they are. */
async function originals(): Promise<ArmResult['pictures']> {
  const test = await packImages(await openFashion('test'));
  return samplePictures(test, test.labels);
}

/** A small picture for documents: the pictures as they are, as tokens keep them, and as small pixels. */
export async function storedPicture(main: readonly ArmResult[]): Promise<Uint8Array> {
  const kept = main.filter(({ arm }) => arm !== 'subset').map(({ pictures }) => pictures);
  return rowsPng(
    [await originals(), ...kept].filter((row) => row !== null),
    56,
  );
}

async function pictures(results: readonly ArmResult[]): Promise<Block[]> {
  const original = await originals();
  const rows = [
    ...(original ? [{ row: original, caption: 'as they are, 784 bytes each' }] : []),
    ...results.flatMap((one) =>
      one.pictures && one.arm !== 'subset'
        ? [
            {
              row: one.pictures,
              caption: `${one.arm === 'tokens' ? 'from tokens' : 'small pixels'}: ${one.form}, ${(one.fileBytes / one.images).toFixed(1)} bytes each`,
            },
          ]
        : [],
    ),
  ];
  const shown = await Promise.all(rows.map(async ({ row, caption }) => ({ png: await rowsPng([row], 84), caption })));
  return [
    {
      kind: 'pictures',
      pictures: shown,
      columns: 1,
      caption:
        'The first test picture of each class. A decoder that is not part of the store draws the tokens; the classifier never sees these drawings.',
    },
  ];
}

function curves(main: readonly ArmResult[]): Block {
  return {
    kind: 'plot',
    title: 'Loss while training',
    x: { label: 'seconds' },
    y: { label: 'loss' },
    series: main.map(({ arm, curve }) => ({
      name: armTitles[arm],
      draw: 'line' as const,
      points: curve.map(({ seconds, loss }) => ({ x: seconds, y: loss })),
    })),
    caption: 'Average over about the last 50 steps; labels are smoothed by 0.1, so that no loss goes to 0.',
  };
}

function everything(results: readonly ArmResult[]): Block {
  return {
    kind: 'table',
    header: ['budget', 'stored', 'accuracy', 'form', 'file bytes', 'images', 'prepare s', 'train s', 'steps'],
    rows: results.map((arm) => [
      printExactBytes(arm.budget),
      arm.arm,
      percent(arm.accuracy),
      arm.form,
      count(arm.fileBytes),
      count(arm.images),
      arm.prepareSeconds.toFixed(1),
      arm.trainSeconds.toFixed(1),
      count(arm.trainSteps),
    ]),
  };
}

const howMade = ({
  test,
}: Job['images']): string => `File bytes are the length of the one file that an arm trains from, by stat. The token store counts tokens, labels, codebook and the encoder that turns new pictures into tokens. Pixel files hold 16 bytes of header, packed labels and unsigned bytes, nothing else.

Small pixels are means over areas, at the largest size that fits the budget: a square, or one row more. Whole pictures are as many as fit, the same number of each class; they are mirrored and moved by up to two pixels in training.

Equal for all arms of a budget: width, depth and heads of the transformer, the optimiser (AdamW, warm-up, cosine), the seconds of training that are asked for. The number of steps follows from the seconds and from the time of a step, which each arm measures before it starts. Learning the tokenizer and writing the store come on top: column prepare.

Planned peak is what the memory planner says, before the first step, that tensors take at the worst moment. Measured peak is the most resident memory of the arm's whole process, by the operating system: it includes Node.js and the decoded pictures.

Accuracy is the share of the ${count(test)} test pictures whose class is right. For tokens, test pictures go through the stored encoder first.`;
