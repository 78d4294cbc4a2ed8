import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { byTurns, Measurer, type Side, serve, type Turn } from './turns.ts';

const row = { name: 'product', unit: 'TFLOP/s', theirs: 'peer', atLeast: 0.98 };
/** A side that answers these figures one after the other, and notes when it was asked. */
const side = (figures: readonly (number | null)[], log: string[] = []): Side => {
  let at = 0;
  return {
    ask: async (name) => {
      log.push(name);
      return figures[at++] ?? null;
    },
  };
};

test('both sides take turns in beginning, and the ratio is the median of the rounds', async () => {
  const log: string[] = [];
  const drift = Array.from({ length: 25 }, (_, i) => 1000 - 20 * i); // a card that grows warm
  const factors = [
    ...new Array<number>(7).fill(0.5),
    ...Array.from({ length: 11 }, (_, i) => 0.95 + i / 100),
    ...new Array<number>(7).fill(2),
  ];
  const line = await byTurns(
    row,
    side(
      drift.map((x, i) => x * factors[i]!),
      log,
    ),
    side(drift, log),
  );
  assert.deepEqual(log.slice(0, 8), ['product', 'peer', 'peer', 'product', 'product', 'peer', 'peer', 'product']);
  assert.equal(log.length, 50);
  assert.deepEqual([line.ratio, line.between, line.met, line.theirs], [1, [0.95, 1.05], true, 760]);
});

test('a side that is not there, or cannot, leaves the other its figure and is not asked again', async () => {
  const log: string[] = [];
  const alone = await byTurns(row, side(new Array<number>(25).fill(5)), undefined);
  assert.deepEqual([alone.ours, alone.theirs, alone.ratio, alone.met, alone.between], [5, null, null, null, undefined]);
  const failing = await byTurns(row, side(new Array<number>(25).fill(5)), side([1, null, 7], log));
  assert.deepEqual([failing.ours, failing.theirs, failing.ratio, log.length], [5, null, null, 2]);
});

test('what a name needs is prepared once while the name stays; an error is an answer', async () => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const log: string[] = [];
  const prepare = (name: string): Turn => {
    if (name === 'bad') throw new Error('too large');
    log.push(`+${name}`);
    return { measure: () => log.length, free: () => log.push(`-${name}`) };
  };
  const served = serve(prepare, input, output);
  input.end('a\na\nbad\nbad\nb\n');
  await served;
  assert.deepEqual(log, ['+a', '-a', '+b']);
  assert.deepEqual(
    String(output.read())
      .trimEnd()
      .split('\n')
      .map((l) => JSON.parse(l)),
    [{ figure: 1 }, { figure: 1 }, { error: 'too large' }, { error: 'too large' }, { figure: 3 }],
  );
});

test('a process answers names; what it cannot do is told once, and its end with its last words', async () => {
  const script = `
    require('readline').createInterface({ input: process.stdin }).on('line', (name) => {
      if (name === 'end') { console.error('TypeError: no memory'); console.error('  at line 1'); process.exit(3); }
      console.log('a library says hello');
      console.log(JSON.stringify(name === 'bad' ? { error: 'too large' } : { figure: name.length }));
    });`;
  const answers = async (names: readonly string[], ms = 20_000): Promise<unknown> => {
    const measurer = new Measurer('PyTorch', process.execPath, ['-e', script], process.env, ms);
    const figures = [];
    for (const name of names) figures.push(await measurer.ask(name));
    await measurer.end();
    return [figures, measurer.reasons];
  };
  assert.deepEqual(await answers(['four', 'bad', 'bad', 'a name']), [[4, null, null, 6], ['PyTorch: bad: too large']]);
  assert.deepEqual(await answers(['four', 'end', 'four']), [[4, null, null], ['PyTorch: ended: TypeError: no memory']]);
  const absent = new Measurer('PyTorch', 'no-such-python', [], process.env, 1000);
  assert.equal(await absent.ask('four'), null);
  assert.match(absent.reasons[0]!, /no-such-python/);
  await absent.end();
  const slow = new Measurer('PyTorch', process.execPath, ['-e', 'process.stdin.resume()'], process.env, 100);
  assert.equal(await slow.ask('four'), null);
  assert.deepEqual(slow.reasons, ['PyTorch: out of time']);
  await slow.end();
});
