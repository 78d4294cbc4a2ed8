import { printBytes } from '../bytes/index.ts';
import type { Stored } from '../tasks/index.ts';
import { costLine, skippedLines } from './cost.ts';
import { budgetFlag, effortFlag, freshFlag, methodFlag, onBadFlag, outFlag, seedFlag, sizeFlag } from './flags.ts';
import { defineVerb } from './verb.ts';

type Flags = {
  budget: string;
  out: string;
  size?: number;
  onBad: 'fail' | 'skip';
  seed: number;
  method: string;
  effort: number;
  fresh: boolean;
};

/** `thimble store <images> --budget 2MB -o photos.tokens` */
export default defineVerb<Flags, [string], Stored>({
  brief: 'Store images as tokens within a budget of bytes',
  help: 'Reads a folder with one folder per class, an IDX file or folder, or a CSV manifest (path,label): JPEG, PNG and WebP, grey and colour, any size.\nCtrl-C saves; the same command goes on.',
  resumes: true,
  parameters: {
    flags: {
      budget: budgetFlag,
      out: outFlag('photos.tokens'),
      size: sizeFlag,
      onBad: onBadFlag,
      seed: seedFlag,
      method: methodFlag,
      effort: effortFlag,
      fresh: freshFlag,
    },
    aliases: { o: 'out' },
    positional: { kind: 'tuple', parameters: [{ brief: 'Folder, IDX file or CSV manifest', placeholder: 'images', parse: String }] },
  },
  async run(io, { size, ...flags }, source) {
    const { store } = await import('../tasks/index.ts');
    return store(source, { ...flags, ...(size !== undefined && { size }), signal: io.signal, onProgress: io.progress });
  },
  text(stored) {
    const { out, images, classes, pixelBytes, fileBytes, budgetBytes, bytesPerImage, skipped } = stored;
    return [
      `${out}: ${images} images of ${classes.length} classes in ${fileBytes} bytes (${printBytes(fileBytes)} of ${printBytes(budgetBytes)}, ${bytesPerImage.toFixed(1)} bytes per image; pixels take ${printBytes(pixelBytes)})`,
      costLine(stored),
      ...skippedLines(skipped),
    ].join('\n');
  },
});
