import { printBytes } from '../bytes/index.ts';
import type { Trained } from '../tasks/index.ts';
import { costLine } from './cost.ts';
import { epochsFlag, freshFlag, methodFlag, outFlag, seedFlag } from './flags.ts';
import { defineVerb } from './verb.ts';

type Flags = { out: string; epochs?: number; seed: number; method: string; fresh: boolean };

/** `thimble train photos.tokens -o model.safetensors` */
export default defineVerb<Flags, [string], Trained>({
  brief: 'Train a classifier from a token store alone',
  help: 'The model file holds the classifier and all that turns pixels into what it reads: eval and predict need nothing else.\nCtrl-C saves; the same command goes on.',
  resumes: true,
  parameters: {
    flags: { out: outFlag('model.safetensors'), epochs: epochsFlag, seed: seedFlag, method: methodFlag, fresh: freshFlag },
    aliases: { o: 'out' },
    positional: { kind: 'tuple', parameters: [{ brief: 'What thimble store wrote', placeholder: 'photos.tokens', parse: String }] },
  },
  async run(io, { epochs, ...flags }, storePath) {
    const { train } = await import('../tasks/index.ts');
    return train(storePath, { ...flags, ...(epochs !== undefined && { epochs }), signal: io.signal, onProgress: io.progress });
  },
  text: (trained) =>
    `${trained.out}: ${printBytes(trained.fileBytes)}, trained from ${printBytes(trained.storeBytes)} to a loss of ${trained.loss.toFixed(3)}\n${costLine(trained)}`,
});
