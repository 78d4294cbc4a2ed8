import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandFor, compare } from './bench.ts';
import { Interrupted, listenForInterrupt } from './interrupt.ts';
import { errorLine, table } from './output.ts';
import { duration, Progress, progressMode } from './progress.ts';

const main = fileURLToPath(new URL('./main.js', import.meta.url));
const thimble = (...args: string[]) =>
  spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: { ...process.env, THIMBLE_DEBUG: '' } });

test('--json prints one object as the last line, and nothing on stderr', () => {
  for (const verb of ['version', 'methods', 'doctor']) {
    const { status, stdout, stderr } = thimble(verb, '--json');
    assert.equal(status, 0, stderr);
    assert.equal(typeof JSON.parse(stdout.trimEnd().split('\n').at(-1)!), 'object');
    assert.equal(stdout.split('\n').length, 2);
    assert.equal(stderr, '');
  }
});

test('the doctor says what programs run on, and is not well where that cannot be', () => {
  const examined = (device: string) => {
    const { status, stdout } = spawnSync(process.execPath, [main, 'doctor', '--json'], {
      encoding: 'utf8',
      env: { ...process.env, THIMBLE_DEVICE: device },
    });
    const { device: runsOn, problems } = JSON.parse(stdout);
    return { status, runsOn, problems: problems.join() };
  };
  assert.deepEqual(examined('cpu'), { status: 0, runsOn: 'cpu', problems: '' });
  const { status, runsOn, problems } = examined('tpu');
  assert.deepEqual([status, runsOn], [1, null]);
  assert.match(problems, /'tpu' is unknown; available: cpu/);
});

test('a method is shown with every setting, those inside others by their path', () => {
  const { stdout } = thimble('methods', 'seit-plus-plus');
  assert.match(stdout, /^tokenizer\.patch +integer +8 +side of a patch in pixels: one token$/m);
  assert.match(stdout, /^codec +escape8 \| packed \| entropy +"escape8"/m);
  assert.doesNotMatch(stdout, /object +\{\}/);
});

test('an error is one line on stderr and exit code 1', () => {
  for (const args of [
    ['methods', 'nope'],
    ['bench', 'nope', '--json'],
    ['bench'],
    ['bench', '--json'],
    ['vresion', '--json'],
    ['vresion'],
    ['version', '--jsno'],
  ]) {
    const { status, stdout, stderr } = thimble(...args);
    assert.deepEqual([status, stderr.trimEnd().split('\n').length], [1, 1], `${args}: ${stderr}`);
    assert.equal(stdout, args.includes('--json') ? `${JSON.stringify({ error: stderr.trimEnd() })}\n` : '');
  }
  assert.match(thimble('vresion').stderr, /did you mean `?version/);
});

test('what follows -- is a name, whatever it begins with', () => {
  assert.match(thimble('methods', '--', '--json').stderr, /there is no method '--json'/);
});

test('the stack is printed with THIMBLE_DEBUG only', () => {
  const error = new Error('two\nlines', { cause: new Error('below') });
  assert.equal(errorLine(error, false), 'two lines');
  assert.match(errorLine(error, true), /at .*cli\.test[\s\S]*caused by: Error: below/);
});

test('what a name does to a terminal is shown instead of done', () => {
  assert.equal(errorLine(new Error('[image] a\x1b[2Jb\n.jpg: bad'), false), '[image] a\\u001b[2Jb .jpg: bad');
  assert.equal(table(['image'], [['a\nb\x07']]), 'image\n-------------\na\\u000ab\\u0007'.replace('-------------', '-'.repeat(14)));
});

test('tables line up: numbers to the right, wide characters counted twice', () => {
  const text = table(
    ['name', 'bytes'],
    [
      ['a', 5],
      ['字', 1234],
      ['long name', null],
    ],
  );
  assert.deepEqual(text.split('\n'), ['name       bytes', '---------  -----', 'a              5', '字          1234', 'long name      -']);
});

/** A stream that remembers, and a clock that is set. */
function stage(isTTY: boolean) {
  let text = '';
  const out = { isTTY, columns: 60, write: (more: string) => void (text += more) };
  const clock = { ms: 0 };
  return { out, clock, read: () => text };
}

test('on a terminal progress renews one line with rate and time left', () => {
  const { out, clock, read } = stage(true);
  const progress = new Progress(out, 'line', () => clock.ms);
  for (let done = 100; done <= 200; done += 5, clock.ms += 1000) progress.update('train', done, 200, 'loss 0.5');
  const lines = read().split('\r\x1b[K');
  assert.equal(lines[1], 'train  100/200  50 %  loss 0.5');
  // Resumed at 100: the rate counts what this run did, 5 a second.
  assert.equal(lines[11], 'train  150/200  75 %  5.0/s  10 s left  loss 0.5');
  assert.equal(lines.at(-1), 'train  200/200  100 %  5.0/s  in 20 s  loss 0.5\n');
});

test('elsewhere progress prints a plain line every ten seconds and at the end', () => {
  const { out, clock, read } = stage(false);
  const progress = new Progress(out, 'plain', () => clock.ms);
  for (let done = 0; done <= 250; done++, clock.ms += 100) progress.update('store', done, 250);
  assert.deepEqual(read().split('\n'), [
    'store  100/250  40 %  10/s  15 s left',
    'store  200/250  80 %  10/s  5 s left',
    'store  250/250  100 %  10/s  in 25 s',
    '',
  ]);
});

test('a terminal line is cut to its width, a new phase and other text begin on their own line', () => {
  const { out, clock, read } = stage(true);
  const progress = new Progress(out, 'line', () => clock.ms);
  progress.update('a', 1, 9, 'x'.repeat(100));
  progress.update('b', 1, 9);
  progress.end();
  const lines = read().split('\n');
  assert.equal(lines[0]!.length, '\r\x1b[K'.length + 59);
  assert.equal(lines.length, 3);
});

test('--json silences progress unless --progress is given', () => {
  const { out } = stage(true);
  assert.equal(progressMode(out, { json: true, progress: false }), 'silent');
  assert.equal(progressMode(out, { json: true, progress: true }), 'line');
  assert.equal(progressMode({ ...out, isTTY: false }, { json: false, progress: false }), 'plain');
});

test('durations read as clocks', () => {
  assert.deepEqual([0.2, 59, 61.5, 3725, Number.POSITIVE_INFINITY].map(duration), ['1 s', '59 s', '1:02', '1:02:05', '?']);
});

test('the first interrupt aborts, the second exits with 130, a closed terminal only aborts, disposal stops listening', () => {
  const signals = Object.assign(new EventEmitter(), { exits: [] as number[], exit: (code: number) => void signals.exits.push(code) });
  const { out } = stage(false);
  {
    using listening = listenForInterrupt(out, true, signals);
    assert.equal(listening.signal.aborted, false);
    signals.emit('SIGINT');
    assert.ok(listening.signal.reason instanceof Interrupted);
    assert.match(String(listening.signal.reason), /what was finished is saved/);
    assert.deepEqual(signals.exits, []);
    signals.emit('SIGINT');
    assert.deepEqual(signals.exits, [130]);
  }
  {
    using listening = listenForInterrupt(out, true, signals);
    signals.emit('SIGHUP');
    signals.emit('SIGHUP');
    assert.ok(listening.signal.aborted);
    assert.deepEqual(signals.exits, [130], 'of above');
  }
  assert.deepEqual(signals.eventNames(), []);
});

test('an interrupted verb exits with 130 and one closing line', { skip: process.platform === 'win32' }, async () => {
  // A verb of its own, through the same machinery: it waits until it is asked to stop.
  const program = `
    import { buildApplication, run } from '@stricli/core';
    import { defineVerb } from ${JSON.stringify(new URL('./verb.js', import.meta.url).href)};
    import { Interrupted } from ${JSON.stringify(new URL('./interrupt.js', import.meta.url).href)};
    const verb = defineVerb({ brief: 'wait', parameters: {}, text: String, async run(io) {
      console.log('ready');
      const idle = setInterval(() => {}, 1000);
      await new Promise((done) => io.signal.addEventListener('abort', done));
      clearInterval(idle);
      throw io.signal.reason;
    } });
    await run(buildApplication(verb, { name: 'wait', determineExitCode: (e) => (e instanceof Interrupted ? 130 : 1) }), [], { process });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (said += text));
  child.stdout.once('data', () => child.kill('SIGINT'));
  const code = await new Promise((done) => child.on('close', done));
  assert.equal(code, 130, said);
  assert.match(said, /stopping after this step/);
  assert.match(said, /interrupted; nothing was written/);
});

test('bench commands run this package and this Node, with the seed', () => {
  assert.deepEqual(commandFor(['node', 'a.mjs', '--seed={seed}'], 3), [process.execPath, ['a.mjs', '--seed=3']]);
  assert.deepEqual(commandFor(['thimble', 'demo', '{seed}'], 4), [process.execPath, [main, 'demo', '4']]);
});

test('figures are compared by their mean over the seeds', () => {
  const expected = [
    { figure: 'accuracy', value: 0.8, tolerance: 0.01, is: 'about' as const },
    { figure: 'seconds', value: 10, tolerance: 0, is: 'at most' as const },
    { figure: 'absent', value: 1, tolerance: 1, is: 'about' as const },
  ];
  const [accuracy, seconds, absent] = compare({ expected }, [
    { accuracy: 0.78, seconds: 9 },
    { accuracy: 0.83, seconds: 13 },
  ]);
  assert.deepEqual([Math.abs(accuracy!.measured! - 0.805) < 1e-12, accuracy!.ok], [true, true]);
  assert.deepEqual([seconds!.measured, seconds!.ok], [11, false]);
  assert.deepEqual([absent!.measured, absent!.bySeed, absent!.ok], [null, [null, null], false]);
});
