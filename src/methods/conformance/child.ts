/** The fresh process of a conformance check: `node child.js <job> <method module> <input as JSON>` prints its result as JSON. */
import '../../device/index.ts';
import type { CodecFiles } from '../contracts/codec.ts';
import type { ObjectiveTarget } from '../contracts/objective.ts';
import type { Run } from '../contracts/run.ts';
import type { ScheduleTarget } from '../contracts/schedule.ts';
import type { MethodOf } from '../method.ts';
import { testImages } from './images.ts';
import { lossOf, operands } from './objective-operands.ts';

const [job, url, input] = process.argv.slice(2) as [string, string, string];
const { default: method } = (await import(url)) as { default: unknown };

/** What is asked, by name. */
const jobs: Record<string, (input: never) => unknown> = {
  async predict({ config, files, run }: { config: unknown; files: CodecFiles; run: Run }) {
    const codec = (method as MethodOf<'codec'>).create(config);
    return Array.from(await codec.predict(testImages, files, run));
  },
  steps({ config, target }: { config: unknown; target: ScheduleTarget }) {
    const schedule = (method as MethodOf<'schedule'>).create(config);
    return Array.from({ length: target.steps }, (_, index) => schedule.step(index, target));
  },
  loss({ config, target }: { config: unknown; target: ObjectiveTarget }) {
    return lossOf((method as MethodOf<'objective'>).create(config), operands(target)).loss;
  },
};

console.log(JSON.stringify(await jobs[job]!(JSON.parse(input) as never)));
