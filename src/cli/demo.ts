import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseBytes, printBytes } from '../bytes/index.ts';
import { type ArmResult, armTitles } from './demo/job.ts';
import { freshFlag, methodFlag, positive, seedFlag, whole } from './flags.ts';
import { table } from './output.ts';
import { defineVerb } from './verb.ts';

/** One arm at the main budget. */
interface Arm {
  name: ArmResult['arm'];
  stores: string;
  fileBytes: number;
  images: number;
  bytesPerImage: number;
  accuracy: number;
  prepareSeconds: number;
  trainSeconds: number;
  plannedPeakBytes: number;
  measuredPeakBytes: number;
}

interface DemoResult {
  arms: Arm[];
  /** The HTML file. */
  report: string;
  budgetBytes: number;
  seconds: number;
  /** The arms at every budget. */
  curve: { name: ArmResult['arm']; budgetBytes: number; fileBytes: number; accuracy: number }[];
}

const toArm = ({
  arm,
  fileBytes,
  images,
  accuracy,
  prepareSeconds,
  trainSeconds,
  plannedPeakBytes,
  measuredPeakBytes,
}: ArmResult): Arm => ({
  name: arm,
  stores: armTitles[arm],
  fileBytes,
  images,
  bytesPerImage: fileBytes / images,
  accuracy,
  prepareSeconds,
  trainSeconds,
  plannedPeakBytes,
  measuredPeakBytes,
});

type Flags = {
  seconds: number;
  seed: number;
  budget: string;
  out: string;
  method: string;
  images: number;
  fresh: boolean;
};

/** The further budgets of the curve, as shares of the main one. */
const furtherBudgets = [2, 0.5];

/** `thimble demo` */
export default defineVerb<Flags, [], DemoResult>({
  brief: 'Store 20,000 pictures as tokens, train from them, compare with pixels in the same bytes',
  help: "Uses the package's Fashion-MNIST subset. Every arm keeps what it can in the same number of bytes, trains the same transformer for the same\ntime from its file alone, and is judged on the same 5,000 test images. Writes a report that opens from disk.\nCtrl-C saves; the same command goes on.",
  resumes: true,
  parameters: {
    flags: {
      seconds: { kind: 'parsed', parse: positive('seconds'), default: '200', brief: 'Time for everything', placeholder: 'n' },
      seed: seedFlag,
      budget: { kind: 'parsed', parse: String, default: '300kB', brief: "Bytes of every arm's file", placeholder: 'size' },
      out: { kind: 'parsed', parse: String, default: 'thimble-demo', brief: 'Folder for files and report', placeholder: 'folder' },
      method: methodFlag,
      images: {
        kind: 'parsed',
        parse: whole('images', 20),
        default: '20000',
        brief: 'Training images; fewer for a quick look',
        placeholder: 'n',
      },
      fresh: freshFlag,
    },
    aliases: { o: 'out' },
  },
  async run(io, { seconds, seed, budget, out, method, images, fresh }) {
    const [{ runArms }, { demoReport, storedPicture }] = await Promise.all([import('./demo/run.ts'), import('./demo/report.ts')]);
    const bytes = parseBytes(budget);
    const folder = resolve(out);
    const budgets = [bytes, ...furtherBudgets.map((share) => Math.floor(share * bytes))];
    const counts = { train: Math.min(20_000, images), test: Math.min(5000, images) };
    const { results, seconds: spent } = await runArms({ seconds, seed, out: folder, method, budgets, fresh, images: counts }, io);
    const report = join(folder, 'report.html');
    const asked = { seconds, seed, budget, ...(method !== 'seit-plus-plus' && { method }), ...(images !== 20_000 && { images }) };
    const command = ['thimble demo', ...Object.entries(asked).map(([name, value]) => `--${name} ${value}`)].join(' ');
    writeFileSync(report, await demoReport({ results, images: counts, budget: bytes, seconds: spent, seed, method, command }));
    const main = results.filter((one) => one.budget === bytes);
    writeFileSync(join(folder, 'stored.png'), await storedPicture(main));
    return {
      arms: main.map(toArm),
      report,
      budgetBytes: bytes,
      seconds: spent,
      curve: results.map(({ arm, budget: budgetBytes, fileBytes, accuracy }) => ({ name: arm, budgetBytes, fileBytes, accuracy })),
    };
  },
  text({ arms, report, seconds }) {
    const rows = arms.map((arm) => [
      arm.stores,
      arm.fileBytes,
      arm.images,
      Number(arm.bytesPerImage.toFixed(1)),
      Number(arm.prepareSeconds.toFixed(1)),
      Number(arm.trainSeconds.toFixed(1)),
      printBytes(arm.plannedPeakBytes),
      printBytes(arm.measuredPeakBytes),
      `${(100 * arm.accuracy).toFixed(1)} %`,
    ]);
    const header = ['stored', 'file bytes', 'images', 'bytes/image', 'prepare s', 'train s', 'planned peak', 'measured peak', 'accuracy'];
    return `\n${table(header, rows)}\n\n${seconds.toFixed(0)} s; plots and pictures: ${report}`;
  },
});
