import { printBytes } from '../bytes/index.ts';
import type { Planned, Work } from '../tasks/index.ts';
import { skippedLines } from './cost.ts';
import { effortFlag, epochsFlag, methodFlag, onBadFlag, sizeFlag } from './flags.ts';
import { table } from './output.ts';
import { duration } from './progress.ts';
import { defineVerb } from './verb.ts';

type Flags = { budget?: string; size?: number; onBad: 'fail' | 'skip'; effort: number; method: string; epochs?: number; device?: string };

const takes: Readonly<Record<Work['task'], [least: number, most: number, what: string]>> = {
  store: [1, 1, 'the images'],
  train: [1, 1, 'a token store'],
  eval: [2, 2, 'a model and images'],
  predict: [2, Infinity, 'a model and images'],
};

/** What the words after `plan` ask for. @throws Error where they are no such verb, or not what it takes */
function workOf([task = '', first = '', ...more]: readonly string[], { budget, size, onBad, effort, epochs }: Flags): Work {
  if (!Object.hasOwn(takes, task)) throw new Error(`[plan] '${task}' has no plan; plan ${Object.keys(takes).join(', ')}`);
  const [least, most, what] = takes[task as Work['task']];
  const foreign = task === 'store' ? { epochs } : task === 'train' ? { budget, size } : { budget, size, epochs };
  for (const [flag, value] of Object.entries(foreign))
    if (value !== undefined) throw new Error(`[plan] ${task} takes no --${flag}; leave it out`);
  if (1 + more.length < least || 1 + more.length > most) throw new Error(`[plan] ${task} takes ${what}, not ${1 + more.length} paths`);
  if (task === 'train') return { task, store: first, ...(epochs !== undefined && { epochs }) };
  if (task === 'eval') return { task, model: first, source: more[0]!, onBad };
  if (task === 'predict') return { task, model: first, paths: more, onBad };
  if (budget === undefined) throw new Error('[plan] store needs --budget, such as --budget 2MB');
  return { task: 'store', source: first, budget, onBad, effort, ...(size !== undefined && { size }) };
}

/** `thimble plan store <images> --budget 2MB`, `thimble plan train photos.tokens`, ... */
export default defineVerb<Flags, string[], Planned>({
  brief: 'Say what a verb will cost in bytes and seconds, before it starts',
  help: 'thimble plan store <images> --budget 2MB: reads the images, learns and writes nothing.\nthimble plan train photos.tokens: reads the head of the store.\nthimble plan eval model.safetensors <images>, and predict: read the images and the head of the model.\nBytes are exact; seconds are those of the steps, right within a factor of about two: a start of about a second comes on top, and on a GPU the seconds in which it first compiles its kernels.',
  usage:
    '[--budget size] [--size n] [--on-bad fail|skip] [--effort share] [--method id] [--epochs n] [--device name] [--json] [--progress] store|train|eval|predict <path>...',
  parameters: {
    flags: {
      budget: { kind: 'parsed', parse: String, optional: true, brief: 'For store: what the file may take', placeholder: 'size' },
      size: sizeFlag,
      onBad: onBadFlag,
      effort: effortFlag,
      method: methodFlag,
      epochs: epochsFlag,
      device: {
        kind: 'parsed',
        parse: String,
        optional: true,
        brief: 'Plan for cpu or cuda, whether it is here or not; default the one that would run',
        placeholder: 'name',
      },
    },
    positional: {
      kind: 'array',
      minimum: 2,
      parameter: { brief: 'The verb, and what it would be given', placeholder: 'argument', parse: String },
    },
  },
  async run(io, flags, ...words) {
    const { plan } = await import('../tasks/index.ts');
    const { method, device } = flags;
    return plan(workOf(words, flags), { method, ...(device !== undefined && { device }), signal: io.signal, onProgress: io.progress });
  },
  text({ method, images, skipped, pixelBytes, fileBytes, stages, plannedPeakBytes, seconds }) {
    const file =
      fileBytes === null
        ? []
        : [`file: at most ${fileBytes} bytes (${printBytes(fileBytes)}, ${(fileBytes / images).toFixed(1)} bytes per image)`];
    const rows = stages.map(({ what, steps, peakBytes, seconds }) => [what, steps, printBytes(peakBytes), duration(seconds)]);
    const costs =
      plannedPeakBytes === null
        ? [`the method ${method} does not tell its time and memory`]
        : [
            table(['stage', 'steps', 'peak of tensors', 'about'], rows),
            '',
            seconds === null
              ? `peak ${printBytes(plannedPeakBytes)}; how fast that device is can be told where it is`
              : `peak ${printBytes(plannedPeakBytes)}, about ${duration(seconds)} in all`,
          ];
    return [`${images} images, ${printBytes(pixelBytes)} of pixels`, ...skippedLines(skipped), ...file, '', ...costs].join('\n');
  },
});
