/** What this method's tests share: small images that can be told apart, files, interruptions. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataRandom, PackedImages } from '../../../data/index.ts';
import type { CodecFiles } from '../../contracts/codec.ts';
import type { Run } from '../../contracts/run.ts';

const classes = ['disc', 'square', 'cross'];

/** Bright shapes of random size and place on dark noise, 20 x 20 grey. */
export function shapes(images: number, seed: number): PackedImages {
  const random = new DataRandom(seed);
  const uniform = (): number => random.nextUint32() / 2 ** 32;
  const labels = Array.from({ length: images }, (_, i) => i % 3);
  const pixels = new Uint8Array(images * 400);
  labels.forEach((label, i) => {
    const [radius, cx, cy, light] = [4 + 3 * uniform(), 8 + 4 * uniform(), 8 + 4 * uniform(), 150 + 80 * uniform()];
    for (let at = 0; at < 400; at++) {
      const [dx, dy] = [Math.abs((at % 20) - cx), Math.abs(Math.floor(at / 20) - cy)];
      const inside = [
        dx * dx + dy * dy < radius * radius,
        Math.max(dx, dy) < 0.85 * radius,
        Math.min(dx, dy) < 1.5 && Math.max(dx, dy) < radius,
      ][label];
      pixels[i * 400 + at] = (inside ? light : 30) + 20 * uniform();
    }
  });
  return new PackedImages({ pixels, labels, shape: [20, 20, 1], classes });
}

/** Runs `body` with names of files in a folder of their own, removed afterwards. */
export async function withFiles(body: (files: CodecFiles) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-seit-'));
  try {
    await body({ tokenizer: join(folder, 'tokenizer'), store: join(folder, 'store'), model: join(folder, 'model') });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs `body` again and again, stopped after some progress, more each time, until it ends. Returns how often it was stopped. */
export async function stopping(run: Run, body: (how: Run) => Promise<void>, every: number): Promise<number> {
  for (let stops = 0; ; stops++) {
    const abort = new AbortController();
    let calls = 0;
    const how: Run = {
      ...run,
      signal: abort.signal,
      onProgress: () => void (++calls === every + stops && abort.abort(new Error('stopped'))),
    };
    try {
      await body(how);
      return stops;
    } catch (error) {
      assert.equal((error as Error).message, 'stopped');
    }
  }
}
