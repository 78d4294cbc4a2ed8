import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import '../device/index.ts';
import type { DataPosition } from '../data/index.ts';
import { compile, defaultDevice, log, matmul, mean, mul, random, sub, sum, type Tensor, tensor, valueAndGrad } from '../tensor/index.ts';
import { checkpointInfo } from './checkpoint.ts';
import { train } from './loop.ts';
import { NonFiniteError } from './nonfinite.ts';
import type { TrainOptions } from './options.ts';

const folder = await mkdtemp(join(tmpdir(), 'thimble-nan-'));
after(() => rm(folder, { recursive: true, force: true }));

interface State {
  w: Tensor;
  /** Updated, never read: what goes wrong here shows in no loss. */
  idle: Tensor;
}
type Item = { value: number; position: DataPosition };

/** Items whose value is 1, but `bad` at one step (counted from 1). */
const itemsWith = (badStep: number, bad: number) =>
  function* (from: DataPosition | undefined): Generator<Item> {
    for (let i = from?.index ?? 0; ; i++) yield { value: i + 1 === badStep ? bad : 1, position: { seed: 0, epoch: 0, index: i + 1 } };
  };

type Loss = (w: Tensor, x: Tensor) => Tensor;
function run(
  lossOf: Loss,
  batches: TrainOptions<State, Tensor, Item>['batches'],
  idleOf: (idle: Tensor, x: Tensor) => Tensor = (idle) => idle,
): TrainOptions<State, Tensor, Item> {
  const step = compile(
    ({ w, idle }: State, x: Tensor, _key: random.Key, lr: Tensor) => {
      const [loss, g] = valueAndGrad(lossOf)(w, x);
      return { state: { w: sub(w, mul(g, lr)), idle: idleOf(idle, x) }, loss };
    },
    { donate: [0] },
  );
  const state = (): State => ({
    w: tensor([
      [0.5, 0.25],
      [0.125, 1],
    ]),
    idle: tensor([1, 2, 3]),
  });
  return { state, step, batches, prepare: ({ value }) => tensor([[value, value]]), steps: 40, schedule: 0.001, key: random.key(0) };
}

async function failure(options: TrainOptions<State, Tensor, Item>): Promise<NonFiniteError> {
  try {
    await train(options);
  } catch (error) {
    assert.ok(error instanceof NonFiniteError, String(error));
    return error;
  }
  throw new Error('nothing went wrong');
}

const product: Loss = (w, x) => mean(matmul(x, w));
const logarithm: Loss = (w, x) => mean(matmul(log(x), w));

test('an overflow is traced to its step and its op, with a checkpoint and without', async () => {
  const bare = await failure(run(product, itemsWith(17, 3e38)));
  assert.deepEqual([bare.step, bare.checkpoint], [17, undefined]);
  assert.match(bare.op!, /matmul/);
  assert.match(
    bare.message,
    /the loss became Infinity at step 17 of 40; .* came from '.*matmul.*' in step 17\. Lower the learning rate \(it was 0\.001\) or clip/,
  );

  const path = join(folder, 'overflow');
  const kept = await failure({ ...run(product, itemsWith(17, 3e38)), checkpoint: { path, config: 1, everySeconds: 0 } });
  assert.deepEqual([kept.step, kept.checkpoint], [17, { path, step: 16 }]);
  assert.match(kept.message, /the last good checkpoint, of step 16, is .*overflow/);
  assert.equal((await checkpointInfo(path)).step, 16);

  const nan = await failure(run(logarithm, itemsWith(9, -1)));
  assert.equal(nan.step, 9);
  assert.match(nan.op!, /log/);
  assert.match(nan.message, /loss became NaN at step 9/);
});

test('it is found however old the checkpoint is, and the checkpoint stays as it was', async () => {
  const path = join(folder, 'old');
  const stopped = new AbortController();
  const options = { ...run(product, itemsWith(33, 3e38)), checkpoint: { path, config: 1, everySeconds: 3600 } };
  await assert.rejects(
    train({ ...options, signal: stopped.signal, onProgress: ({ step }) => step === 5 && stopped.abort(new Error('stop')) }),
    /stop/,
  );
  const before = await readFile(path);
  const { step } = await checkpointInfo(path); // on a device with a queue, that of the last step in it
  assert.ok(step >= 5 && step < 33, `stopped at step ${step}`);
  const error = await failure(options);
  assert.deepEqual([error.step, error.checkpoint], [33, { path, step }]);
  assert.deepEqual(await readFile(path), before);
  // the way out: another source of trouble-free batches goes on from there
  assert.equal((await train({ ...options, batches: itemsWith(-1, 0) })).step, 40);
});

test('a state that goes wrong before the loss does is noticed when it would be saved, and traced to where it began', async () => {
  const options = run(product, itemsWith(12, -2), (idle, x) => mul(idle, sum(log(x))));
  const path = join(folder, 'idle');
  let step = 0;
  const error = await failure({ ...options, checkpoint: { path, config: 1, everySeconds: 3600 }, onProgress: (p) => void (step = p.step) });
  assert.equal(step, 40, 'no loss shows it');
  assert.equal(error.step, 12);
  assert.match(error.op!, /log|sum|map/);
  assert.match(error.message, /'idle' is not finite after step 40 of 40/);
  assert.equal((await checkpointInfo(path)).step, 0);
});

test('a weight that overflows in one step and spoils the loss in the next is blamed on the first', async () => {
  const square: Loss = (w, x) => mean(mul(matmul(x, w), matmul(x, w)));
  // at step 6 the gradient is finite and the update w - g * lr overflows
  const options = { ...run(square, itemsWith(6, 1e18)), schedule: (i: number) => (i === 5 ? 1e30 : 1e-3) };
  const error = await failure(options);
  assert.equal(error.step, 6);
  assert.match(error.message, /the loss became (NaN|-?Infinity) at step 7 of 40; .* in step 6\./);
});

test('infinities that are there from the start are no failure; a failure that does not come again is said to', async () => {
  const masked = { ...run(product, itemsWith(-1, 0)), checkpoint: { path: join(folder, 'masked'), config: 1 } };
  const infinite = (): State => ({
    w: tensor([
      [1, 0],
      [0, 1],
    ]),
    idle: tensor([0, Number.NEGATIVE_INFINITY]),
  });
  assert.equal((await train({ ...masked, state: infinite })).step, 40);
  let drawn = 0;
  const chance = run(product, (from) => itemsWith(drawn++ ? -1 : 4, 3e38)(from));
  const error = await failure(chance);
  assert.deepEqual([error.step, error.op], [4, undefined]);
  assert.match(error.message, /did not show where it began/);
  const unreadable = run(product, (from) => {
    if (drawn++ > 2) throw new Error('photos.tokens is gone');
    return itemsWith(4, 3e38)(from);
  });
  const known = await failure(unreadable);
  assert.match(known.message, /the loss became Infinity at step 4 of 40; running those steps again failed \(photos\.tokens is gone\)/);
});

test('nothing leaks where a run fails', async () => {
  const device = defaultDevice();
  const key = random.key(0);
  const options = { ...run(product, itemsWith(17, 3e38)), key };
  await failure(options);
  const before = device.allocatedBytes;
  await failure(options);
  assert.equal(device.allocatedBytes, before);
});
