/** What every codec must hold to: see `codecChecks` for the list. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileBytes } from '../../bytes/index.ts';
import type { Codec, CodecFiles } from '../contracts/codec.ts';
import type { Run } from '../contracts/run.ts';
import { type Check, declarationChecks, inFreshProcess, leastBudget, type Subject, suite } from './check.ts';
import { testImages, trainImages } from './images.ts';

/** Little training: these checks ask whether it is right, not whether it is good. */
const run: Run = { seed: 7, effort: 0.02 };

/** Runs `body` with names of files in a folder of their own, removed afterwards. */
async function withFiles(body: (files: CodecFiles) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-codec-'));
  try {
    await body({ tokenizer: join(folder, 'tokenizer'), store: join(folder, 'store'), model: join(folder, 'model') });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A codec with four times the least budget, and its configuration. */
function fitted(subject: Subject<'codec'>): { codec: Codec; config: unknown } {
  const config = subject.method.fit(4 * leastBudget(subject), subject.target);
  return { codec: subject.method.create(config), config };
}

async function learnAndStore(codec: Codec, files: CodecFiles, how = run): Promise<void> {
  await codec.learn(trainImages, files, how);
  await codec.store(trainImages, files, how);
}

/** Asserts that training from a store refuses it: an error that speaks, no crash, no model. */
const refuses = (codec: Codec, files: CodecFiles, what: string): Promise<void> =>
  assert.rejects(
    codec.train(files, run),
    (error: unknown) => error instanceof Error && error.message.length > 10,
    `a ${what} store was believed`,
  );

export const codecChecks: readonly Check<'codec'>[] = [
  ...declarationChecks<'codec'>(),
  {
    name: 'the store takes no more bytes than declared',
    async run(subject) {
      const least = leastBudget(subject);
      for (const budget of [least, 4 * least]) {
        const config = subject.method.fit(budget, subject.target);
        await withFiles(async (files) => {
          await learnAndStore(subject.method.create(config), files);
          const [declared, measured] = [subject.method.bytes(config, subject.target), fileBytes(files.store).apparent];
          assert.ok(measured <= declared, `[${subject.method.id}] declares ${declared} B, the store takes ${measured} B`);
        });
      }
    },
  },
  {
    name: 'the same seed makes the same store and the same predictions',
    async run(subject) {
      const seen: [Buffer, Uint16Array][] = [];
      for (let time = 0; time < 2; time++) {
        const { codec } = fitted(subject);
        await withFiles(async (files) => {
          await learnAndStore(codec, files);
          await codec.train(files, run);
          seen.push([readFileSync(files.store), await codec.predict(testImages, files, run)]);
        });
      }
      assert.deepEqual(seen[1], seen[0]);
    },
  },
  {
    name: 'a fresh process predicts the same from the files',
    async run(subject) {
      const { codec, config } = fitted(subject);
      await withFiles(async (files) => {
        await learnAndStore(codec, files);
        await codec.train(files, run);
        const here = Array.from(await codec.predict(testImages, files, run));
        assert.equal(here.length, testImages.size);
        assert.ok(here.every((label) => label < testImages.classes.length));
        assert.deepEqual(await inFreshProcess('predict', subject.url, { config, files, run }), here);
      });
    },
  },
  {
    name: 'a truncated and a bit-flipped store are refused',
    async run(subject) {
      const { codec } = fitted(subject);
      await withFiles(async (files) => {
        await learnAndStore(codec, files);
        const whole = readFileSync(files.store);
        for (const at of [0.3, 0.6, 0.9]) {
          const flipped = Buffer.from(whole);
          const byte = Math.floor(at * whole.length);
          flipped[byte] = flipped[byte]! ^ 4;
          writeFileSync(files.store, flipped);
          await refuses(codec, files, 'bit-flipped');
          writeFileSync(files.store, whole);
          truncateSync(files.store, byte);
          await refuses(codec, files, 'truncated');
        }
      });
    },
  },
  {
    name: 'an aborted run stops with the reason given',
    async run(subject) {
      const { codec } = fitted(subject);
      const reason = new Error('enough');
      await withFiles(async (files) => {
        await assert.rejects(learnAndStore(codec, files, { ...run, signal: AbortSignal.abort(reason) }), (error) => error === reason);
      });
    },
  },
];

/** Registers every check of a codec as a test. */
export const codecConformance = (subject: Omit<Subject<'codec'>, 'target'>): void =>
  suite(codecChecks, { ...subject, target: trainImages });
