import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { cacheKey, readCache, settleCache, writeCache } from './cache.ts';
import { type Bench, choose } from './tuning.ts';

function withFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-cache-'));
  const before = process.env.THIMBLE_CACHE;
  process.env.THIMBLE_CACHE = folder;
  try {
    body(folder);
  } finally {
    if (before === undefined) delete process.env.THIMBLE_CACHE;
    else process.env.THIMBLE_CACHE = before;
    rmSync(folder, { recursive: true });
  }
}

test('entries come back as they were; damaged, cut, renamed and absent ones do not', () =>
  withFolder((folder) => {
    const content = Buffer.from('what took long to find out');
    assert.equal(writeCache('entry', content), true);
    assert.deepEqual(Buffer.from(readCache('entry')!), content);
    assert.deepEqual(readdirSync(folder), ['entry']); // no temporary file is left
    const stored = readFileSync(join(folder, 'entry'));
    for (let at = 0; at < stored.length; at++) {
      const damaged = Buffer.from(stored);
      damaged[at]! ^= 1;
      writeFileSync(join(folder, 'entry'), damaged);
      assert.equal(readCache('entry'), undefined);
    }
    writeFileSync(join(folder, 'entry'), stored.subarray(0, 40));
    assert.equal(readCache('entry'), undefined);
    assert.equal(readCache('other'), undefined);
    writeFileSync(join(folder, 'other'), stored);
    assert.equal(readCache('other'), undefined, 'a whole entry under the name of another');
    assert.notEqual(cacheKey('12.4', 'sm_90', 'source'), cacheKey('13.0', 'sm_90', 'source'));
  }));

test('a folder that cannot be written is told by false', () =>
  withFolder((folder) => {
    writeFileSync(join(folder, 'file'), '');
    assert.equal(writeCache('entry', Buffer.from('x'), join(folder, 'file', 'below')), false);
  }));

/** Algorithms are single bytes; running one takes as many milliseconds as `times` says, `fromRest` where it is warmed up and timed by itself. */
function bench(times: readonly number[], fromRest = times): { bench: Bench; choice: Parameters<typeof choose>[1] } {
  let elapsed = 0;
  let now = times;
  return {
    bench: {
      machine: 'a GPU',
      stream: 0,
      captured: (work) => ({ launch: work, free: () => {} }),
      timed: (bodies) => {
        now = bodies.length === 2 ? fromRest : times;
        return bodies.map((body) => {
          elapsed = 0;
          body();
          return elapsed;
        });
      },
      scratch: (bytes, body) => body(bytes.map((_, i) => i)),
    },
    choice: {
      entry: 'gemm-test',
      candidates: () => times.map((_, i) => Uint8Array.of(i)),
      usable: ([i]) => times[i!] !== undefined,
      operands: [1, 1, 1],
      runner:
        ([i]) =>
        () => {
          if (times[i!]! < 0) throw new Error('cannot run');
          elapsed += now[i!]!;
        },
    },
  };
}
const chosen = (times: readonly number[], fromRest?: readonly number[]): number => {
  const { bench: b, choice } = bench(times, fromRest);
  return choose(b, choice)[0]!;
};

test('the fastest algorithm is chosen, and stays chosen whatever a later process would measure', () => {
  withFolder(() => {
    assert.equal(chosen([2, 1.5, 1, 3]), 2);
    assert.equal(chosen([1, 2, 3, 4]), 2);
    assert.equal(chosen([1, 2]), 0); // the kept one does not run here any more
  });
  withFolder(() => assert.equal(chosen([1, 0.995, 3]), 0)); // less than the noise
  withFolder(() => assert.equal(chosen([2, -1, 1]), 2)); // one that fails is passed over
});

test('an algorithm is taken for what it gains at work and from rest, the worse of the two', () => {
  withFolder(() => assert.equal(chosen([2, 1.7, 1.8, 3], [1.5, 1.6, 1.4, 3]), 2));
  withFolder(() => assert.equal(chosen([2, 1.7, 3], [1.5, 1.55, 3]), 0));
});

test('of two processes that measure at once, the later one takes what the first has kept', () =>
  withFolder(() => {
    const { bench: b, choice } = bench([2, 1.5, 1, 3]);
    const slower = {
      ...b,
      timed(bodies: Parameters<Bench['timed']>[0]) {
        settleCache(choice.entry, Uint8Array.of(3));
        return b.timed(bodies);
      },
    };
    assert.equal(choose(slower, choice)[0], 3);
    assert.equal(chosen([2, 1.5, 1, 3]), 3);
  }));

test('an entry is settled once; a damaged one is settled again', () =>
  withFolder((folder) => {
    const settled = (text: string): string | undefined => settleCache('entry', Buffer.from(text), folder)?.toString();
    assert.deepEqual([settled('first'), settled('second')], ['first', 'first']);
    writeFileSync(join(folder, 'entry'), 'damaged');
    assert.equal(settled('third'), 'third');
    assert.deepEqual(readdirSync(folder), ['entry']);
    assert.equal(settleCache('entry', Buffer.from('x'), join(folder, 'entry', 'below')), undefined);
  }));

test("where the choice cannot be kept it is the library's first: the same program must give the same bits next time", () =>
  withFolder((folder) => {
    mkdirSync(join(folder, 'in'));
    writeFileSync(join(folder, 'in', 'file'), '');
    process.env.THIMBLE_CACHE = join(folder, 'in', 'file');
    assert.equal(chosen([2, 1.5, 1]), 0);
  }));
