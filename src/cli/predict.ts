import type { Predicted } from '../tasks/index.ts';
import { skippedLines } from './cost.ts';
import { onBadFlag } from './flags.ts';
import { table } from './output.ts';
import { defineVerb } from './verb.ts';

/** `thimble predict model.safetensors <images...>` */
export default defineVerb<{ onBad: 'fail' | 'skip' }, [string, ...string[]], Predicted>({
  brief: 'Name the class of image files',
  usage: '[--on-bad fail|skip] [--json] [--progress] <model.safetensors> <images>...',
  parameters: {
    flags: { onBad: onBadFlag },
    positional: {
      kind: 'array',
      minimum: 2,
      parameter: {
        brief: 'The model file, then image files and folders of them',
        placeholder: 'path',
        parse: String,
      },
    },
  },
  async run(io, { onBad }, model, ...paths) {
    const { predict } = await import('../tasks/index.ts');
    return predict(model, paths, { onBad, signal: io.signal, onProgress: io.progress });
  },
  text: ({ predictions, skipped }) =>
    [
      table(
        ['image', 'class'],
        predictions.map((one) => [one.path, one.class]),
      ),
      ...skippedLines(skipped),
    ].join('\n'),
});
