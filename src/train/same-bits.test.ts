/**
 * The same seed, the same bits: twice in a process, in two processes that begin at once with nothing kept of this machine, and in one that comes
 * later. On a GPU the products are large enough for their algorithms to be chosen by time.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import '../device/index.ts';
import { AdamW, Gpt2, mixedPrecision } from '../nn/index.ts';
import { compile, disposeTree, random, type Tensor, tensor } from '../tensor/index.ts';
import { bitsOf } from './toy-run.ts';

const config = { vocabulary: 500, context: 128, width: 384, layers: 1, heads: 6 };
const [rows, steps] = [4, 3];

/** Trains from the same weights on the same batches and returns a digest of all that the run ends with. */
function digest(): string {
  const model = compile(() => Gpt2.init(random.key(1), config))();
  const adamw = new AdamW({ weightDecay: 0.1 });
  const { valueAndGrad } = mixedPrecision({ compute: 'bf16' });
  const shape = [rows, config.context];
  const step = compile(
    (m: Gpt2, state: ReturnType<typeof adamw.init<Gpt2>>, key: random.Key) => {
      const [ids, next] = random.splitKey(key).map((k) => random.randint(k, shape, 0, config.vocabulary)) as [Tensor, Tensor];
      const [loss, gradients] = valueAndGrad((w: Gpt2) => w.loss(ids, next))(m);
      return { loss, ...adamw.update(m, gradients, state, tensor(1e-3)) };
    },
    { donate: [0, 1] },
  );
  let now = { model, state: adamw.init(model) };
  const losses: string[] = [];
  for (let i = 0; i < steps; i++) {
    const { loss, ...next } = step(now.model, now.state, random.key(i));
    losses.push(bitsOf(loss));
    now = next;
  }
  const end = `${losses.join()} ${bitsOf(now)}`;
  disposeTree(now);
  return end;
}

if (process.argv[2] === 'child') process.stdout.write(JSON.stringify([digest(), digest()]));
else
  test('a run is the same to the bit: again in its process, in another at the same time, and in one that comes later', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'thimble-bits-'));
    const inChild = async (): Promise<string[]> => {
      const child = promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), 'child'], {
        env: { ...process.env, THIMBLE_CACHE: folder },
      });
      return JSON.parse((await child).stdout) as string[];
    };
    try {
      const atOnce = await Promise.all([inChild(), inChild()]);
      const runs = [...atOnce, await inChild()].flat();
      assert.equal(runs.length, 6);
      assert.deepEqual([...new Set(runs)], [runs[0]]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
