/** What a run leaves on disk when it ends in any way, and how it goes on from there. */
import assert from 'node:assert/strict';
import fsPromises, { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import '../device/index.ts';
import { DataRandom } from '../data/index.ts';
import { random, tensor } from '../tensor/index.ts';
import { checkpointInfo } from './checkpoint.ts';
import { train } from './loop.ts';
import type { TrainOptions } from './options.ts';
import type { Placed } from './stepper.ts';
import { bitsOf, type ToyBatch, type ToyItem, type ToyState, toyBatch, toyItems, toyRun, toyState } from './toy-run.ts';
import { loadModel, modelInfo } from './weights.ts';

const folder = await mkdtemp(join(tmpdir(), 'thimble-train-'));
after(() => rm(folder, { recursive: true, force: true }));
let files = 0;
const newPath = (): string => join(folder, `run-${files++}`);
const config = { model: { width: 16 }, steps: 60 };

test('interrupted at random steps, in every way, a run ends with the bits of a straight one', async () => {
  const evaluate = { everySteps: 8, run: ({ model }: ToyState) => ({ weight: model.out.weight.data()[0]! }) };
  const straight = await train({ ...toyRun(60), evaluate });
  assert.ok(straight.curve.at(-1)!.loss < straight.curve[0]!.loss);
  const dice = new DataRandom(1);
  for (let round = 0; round < 6; round++) {
    const path = newPath();
    let stops = 0;
    for (;;) {
      const at = dice.below(round > 3 ? 4 : 30) + 1;
      const abort = new AbortController();
      const reason = new Error('stop');
      let taken = 0;
      const stop = (): void => {
        if (++taken === at) {
          if (round % 2) throw reason;
          abort.abort(reason);
        }
      };
      // stopped in turn while a step runs, between two, and at an evaluation
      const inBatches = round < 2;
      const run = toyRun(60);
      try {
        const result = await train({
          ...run,
          batches: (from) => (inBatches ? watched(toyItems(from), stop) : toyItems(from)),
          evaluate: {
            ...evaluate,
            run(state) {
              if (round > 3) stop();
              return evaluate.run(state);
            },
          },
          checkpoint: { path, config, everySeconds: 0.002 },
          signal: abort.signal,
          onProgress: () => round > 1 && round < 4 && stop(),
        });
        assert.equal(bitsOf(result.state), bitsOf(straight.state));
        assert.deepEqual([result.loss, result.curve, result.evaluations], [straight.loss, straight.curve, straight.evaluations]);
        break;
      } catch (error) {
        assert.equal(error, reason);
        stops++;
      }
    }
    assert.ok(stops > 0);
    const done = await train({ ...toyRun(60), checkpoint: { path, config } });
    assert.equal(bitsOf(done.state), bitsOf(straight.state), 'a finished run is loaded, not trained again');
  }
});

function* watched<T>(items: Iterable<T>, visit: () => void): Generator<T> {
  for (const item of items) {
    visit();
    yield item;
  }
}

test('a checkpoint of another run is refused, and says what differs', async () => {
  const path = newPath();
  await train({ ...toyRun(3), checkpoint: { path, config } });
  const before = await readFile(path);
  const again = (options: Partial<TrainOptions<ToyState, ToyBatch, ToyItem>>, other: unknown = config) =>
    train({ ...toyRun(6), ...options, checkpoint: { path, config: other } });
  await assert.rejects(
    again({}, { steps: 60, model: { width: 32 } }),
    /another run \(model\.width: 16, now 32\); choose another path, or delete/,
  );
  await assert.rejects(again({}, { ...config, seed: 1 }), /seed: absent, now 1/);
  await assert.rejects(again({ key: random.key(8) }), /random key is another one/);
  await assert.rejects(again({ state: { ...toyState(), w: tensor(1) } as ToyState }), /another tree.*'state\.state\.w' f32\[\] is missing/);
  await assert.rejects(train({ ...toyRun(2), checkpoint: { path, config } }), /stands at step 3, asked are 2/);
  assert.deepEqual(await readFile(path), before, 'a refused file stays as it was');
  const accepted = await train({ ...toyRun(6), checkpoint: { path, config: { lower: true }, acceptConfig: true } });
  assert.equal(accepted.step, 6);
  assert.deepEqual((await checkpointInfo(path)).config, { lower: true });
});

test('what is no checkpoint is not overwritten, and a bad path is known before the first step', async () => {
  const path = newPath();
  await writeFile(path, 'my precious notes');
  await assert.rejects(train({ ...toyRun(2), checkpoint: { path, config } }), /header|safetensors/);
  assert.equal(await readFile(path, 'utf8'), 'my precious notes');
  let prepared = 0;
  const counted = (item: ToyItem): ToyItem => {
    prepared++;
    return item;
  };
  const counting = { ...toyRun(2), prepare: (item: ToyItem) => toyBatch(counted(item)) };
  await assert.rejects(
    train({ ...counting, checkpoint: { path: join(folder, 'absent', 'x'), config } }),
    /cannot write the checkpoint .*choose a folder/,
  );
  if (process.getuid?.() !== 0) {
    await chmod(folder, 0o500);
    await assert
      .rejects(train({ ...counting, checkpoint: { path: newPath(), config } }), /cannot write/)
      .finally(() => chmod(folder, 0o700));
  }
  assert.equal(prepared, 0);
});

test('two processes cannot train into one file; the lock goes with its run', async () => {
  const path = newPath();
  const first = train({ ...toyRun(20), checkpoint: { path, config } });
  await assert.rejects(train({ ...toyRun(20), checkpoint: { path, config } }), /is being written by process/);
  await first;
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith('.lock')),
    [],
  );
});

test('batches that fail or end stop the run where it can go on', async () => {
  const path = newPath();
  function* failing(after: number): Generator<{ indices: Uint32Array } & Placed> {
    let n = 0;
    for (const item of toyItems(undefined)) {
      if (n++ === after) throw new Error('image 7 of photos/ is unreadable');
      yield item;
    }
  }
  await assert.rejects(train({ ...toyRun(20), batches: () => failing(12), checkpoint: { path, config } }), /image 7/);
  assert.equal((await checkpointInfo(path)).step, 12);
  const resumed = await train({ ...toyRun(20), checkpoint: { path, config } });
  assert.equal(bitsOf(resumed.state), bitsOf((await train(toyRun(20))).state));
  const few = [...Array(3)].map((_, i) => ({ indices: new Uint32Array(16), position: { seed: 0, epoch: 0, index: i } }));
  await assert.rejects(train({ ...toyRun(20), batches: () => few }), /the batches ended after step 3 of 20/);
  const lost = few.map(({ indices }) => ({ indices, position: { batch: 1 } as never }));
  await assert.rejects(train({ ...toyRun(20), batches: () => lost }), /a batch's position is \{"batch":1\}; give \{ seed, epoch, index \}/);
});

test('evaluations come in time, the best model is kept, and a resume does not forget it', async () => {
  const path = newPath();
  const best = newPath();
  const scores = [1, 3, 2, 2.5];
  const evaluate = {
    everySteps: 5,
    run: (_: unknown, step: number) => ({ score: scores[step / 5 - 1]! }),
    keepBest: { by: 'score', path: best, model: ({ model }: { model: unknown }) => model },
  };
  const abort = new AbortController();
  const first = train({
    ...toyRun(20),
    evaluate,
    checkpoint: { path, config },
    signal: abort.signal,
    onProgress: ({ step }) => step === 12 && abort.abort(new Error('stop')),
  });
  await assert.rejects(first, /stop/);
  const written = (await stat(best)).mtimeMs;
  const { evaluations } = await train({ ...toyRun(20), evaluate, checkpoint: { path, config } });
  assert.deepEqual(
    evaluations,
    [5, 10, 15, 20].map((step, i) => ({ step, metrics: { score: scores[i]! } })),
  );
  assert.equal((await stat(best)).mtimeMs, written);
  assert.deepEqual((await modelInfo(best)).config, { step: 10, metrics: { score: 3 }, run: config });
  const at10 = await train({ ...toyRun(20), steps: 10 });
  assert.equal(bitsOf(await loadModel(best, toyState().model)), bitsOf(at10.state.model));
  await assert.rejects(
    train({ ...toyRun(2), evaluate: { ...evaluate, keepBest: { ...evaluate.keepBest, by: 'acc' } } }),
    /no 'acc' to keep the best by; it has score/,
  );
});

/** Makes every write to a file whose name holds `part` fail as on a full disk while `full()`. */
function withFullDisk(part: string, full: () => boolean): Disposable {
  const open = fsPromises.open;
  fsPromises.open = async (...args) => {
    const handle = await open(...args);
    if (String(args[0]).includes(part) && String(args[1]).startsWith('w')) {
      const write = handle.write.bind(handle) as (...rest: unknown[]) => Promise<unknown>;
      handle.write = (async (...rest: unknown[]) => {
        if (full()) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
        return write(...rest);
      }) as typeof handle.write;
    }
    return handle;
  };
  syncBuiltinESMExports();
  return {
    [Symbol.dispose]() {
      fsPromises.open = open;
      syncBuiltinESMExports();
    },
  };
}

test('a disk that fills up: training warns and goes on, saves again when there is room, and stops where it must', async () => {
  const path = newPath();
  let full = false;
  using _ = withFullDisk(path.slice(folder.length + 1), () => full);
  const warnings: string[] = [];
  const listen = (w: Error): void => void warnings.push(w.message);
  process.on('warning', listen);
  const saved: number[] = [];
  const checkpoint = { path, config, everySeconds: 0 };
  const result = await train({
    ...toyRun(30),
    checkpoint,
    batches: (from) =>
      watched(toyItems(from), () => {
        full = saved.length > 8 && saved.length < 20;
      }),
    onProgress: ({ step }) => void saved.push(step),
  });
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', listen);
  assert.ok(
    warnings.length > 5 && warnings.every((w) => /checkpoint stays at step \d+, training goes on: .*cannot write .*needed/.test(w)),
    warnings.join('\n'),
  );
  assert.equal(bitsOf(result.state), bitsOf((await train(toyRun(30))).state));
  assert.equal((await checkpointInfo(path)).step, 30);

  const before = await readFile(path);
  const stop = new AbortController();
  full = true;
  const more = train({
    ...toyRun(60),
    checkpoint: { ...checkpoint, everySeconds: 60 },
    signal: stop.signal,
    onProgress: ({ step }) => step === 33 && stop.abort(new Error('Ctrl-C')),
  });
  await assert.rejects(
    more,
    /stopped at step (3[3-9]|4[01]) \(Error: Ctrl-C\), which could not be saved; the checkpoint stays at step 30: .*needed/,
  );
  assert.deepEqual(await readFile(path), before, 'the old checkpoint is whole');
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.endsWith('.tmp')),
    [],
  );
  await assert.rejects(train({ ...toyRun(40), checkpoint: { path: `${path}-new`, config } }), /cannot write .*needed/);
});
