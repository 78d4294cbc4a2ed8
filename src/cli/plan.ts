import { printBytes } from '../bytes/index.ts';
import type { Planned } from '../tasks/index.ts';
import { skippedLines } from './cost.ts';
import { effortFlag, epochsFlag, methodFlag, onBadFlag, sizeFlag } from './flags.ts';
import { table } from './output.ts';
import { duration } from './progress.ts';
import { defineVerb } from './verb.ts';

type Flags = { budget?: string; size?: number; onBad: 'fail' | 'skip'; effort: number; method: string; epochs?: number; device?: string };

/** `thimble plan store <images> --budget 2MB`, `thimble plan train photos.tokens` */
export default defineVerb<Flags, ['store' | 'train', string], Planned>({
  brief: 'Say what store or train will cost in bytes and seconds, before it starts',
  help: 'thimble plan store <images> --budget 2MB: reads the images, learns and writes nothing.\nthimble plan train photos.tokens: reads the head of the store.\nBytes are exact; seconds are right within a factor of about two.',
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
      kind: 'tuple',
      parameters: [
        {
          brief: 'store or train',
          placeholder: 'verb',
          parse(text: string): 'store' | 'train' {
            if (text === 'store' || text === 'train') return text;
            throw new Error(`[plan] '${text}' has no plan; plan store or train`);
          },
        },
        { brief: 'Images, or a token store', placeholder: 'path', parse: String },
      ],
    },
  },
  async run(io, { budget, size, onBad, effort, method, epochs, device }, task, path) {
    const { plan } = await import('../tasks/index.ts');
    const options = { method, ...(device !== undefined && { device }), signal: io.signal, onProgress: io.progress };
    if (task === 'train') return plan({ task, store: path, ...(epochs !== undefined && { epochs }) }, options);
    if (budget === undefined) throw new Error('[plan] store needs --budget, such as --budget 2MB');
    return plan({ task, source: path, budget, onBad, effort, ...(size !== undefined && { size }) }, options);
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
