import type { Evaluated } from '../tasks/index.ts';
import { costLine, skippedLines } from './cost.ts';
import { onBadFlag } from './flags.ts';
import { table } from './output.ts';
import { defineVerb } from './verb.ts';

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** `thimble eval model.safetensors <images>` */
export default defineVerb<{ onBad: 'fail' | 'skip' }, [string, string], Evaluated>({
  brief: 'Measure a classifier on labelled images',
  help: 'Images as for thimble store; of a folder with IDX files, the test split. Class folders must be named as when the store was made.',
  parameters: {
    flags: { onBad: onBadFlag },
    positional: {
      kind: 'tuple',
      parameters: [
        { brief: 'What thimble train wrote', placeholder: 'model.safetensors', parse: String },
        { brief: 'Folder, IDX file or CSV manifest', placeholder: 'images', parse: String },
      ],
    },
  },
  async run(io, { onBad }, model, images) {
    const { evaluate } = await import('../tasks/index.ts');
    return evaluate(model, images, { onBad, signal: io.signal, onProgress: io.progress });
  },
  text(evaluated) {
    const { accuracy, images, classes, skipped } = evaluated;
    const rows = classes
      .filter(({ images }) => images > 0)
      .map(({ name, images, right }) => [name, images, right, percent(right / images)]);
    return [
      `accuracy ${percent(accuracy)} of ${images} images`,
      '',
      table(['class', 'images', 'right', ''], rows),
      '',
      costLine(evaluated),
      ...skippedLines(skipped),
    ].join('\n');
  },
});
