/** store, train, eval, predict and plan as a user has them: in processes, on files. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gpuPresent } from '../device/cuda/requirements.ts';
import { encodePng } from '../io/index.ts';

const main = fileURLToPath(new URL('./main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'thimble-verbs-'));
const at = (...names: string[]): string => join(folder, ...names);
after(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  status: number | null;
  stderr: string;
  // biome-ignore lint/suspicious/noExplicitAny: JSON of any verb
  json: any;
}
function thimble(...args: string[]): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args, '--json'], { cwd: folder, encoding: 'utf8' });
  return { status, stderr: stderr.trim(), json: status === 0 ? JSON.parse(stdout.trimEnd().split('\n').at(-1)!) : undefined };
}

/** A picture of 16 x 16: stripes across, down, or a bright disc, at a place that depends on `i`. */
function picture(kind: number, i: number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, p) => {
    const [x, y] = [p % 16, p >> 4];
    if (kind === 0) return (x + i) % 4 < 2 ? 230 : 20;
    if (kind === 1) return (y + i) % 4 < 2 ? 230 : 20;
    return (x - 6 - (i % 4)) ** 2 + (y - 7) ** 2 < 20 ? 250 : 10;
  });
}

const kinds = ['across', 'down', 'disc'];
before(async () => {
  for (const [split, count] of [
    ['train', 24],
    ['test', 6],
  ] as const)
    for (const [kind, name] of kinds.entries()) {
      mkdirSync(at(split, name), { recursive: true });
      for (let i = 0; i < count; i++)
        writeFileSync(
          at(split, name, `${String(i).padStart(2, '0')}.png`),
          await encodePng({ width: 16, height: 16, channels: 1, pixels: picture(kind, i) }),
        );
    }
});

const store = (...more: string[]): Ran => thimble('store', 'train', '--budget', '30kB', '-o', 'photos.tokens', '--effort', '0.1', ...more);

test('images -> tokens -> model -> answers', () => {
  const planned = thimble('plan', 'store', 'train', '--budget', '30kB', '--effort', '0.1');
  const whole = thimble('plan', 'store', 'train', '--budget', '30kB');
  assert.ok(planned.json.stages[0].steps < 0.2 * whole.json.stages[0].steps);
  assert.equal(planned.status, 0, planned.stderr);
  const stored = store();
  assert.equal(stored.status, 0, stored.stderr);
  const { images, classes, fileBytes, bytesPerImage } = stored.json;
  assert.deepEqual([images, classes, fileBytes], [72, ['across', 'disc', 'down'], statSync(at('photos.tokens')).size]);
  assert.equal(bytesPerImage, fileBytes / 72);
  assert.ok(fileBytes <= planned.json.fileBytes && planned.json.fileBytes <= 30_000, `${fileBytes} ${planned.json.fileBytes}`);
  assert.ok(planned.json.seconds > 0);
  assert.equal(planned.json.plannedPeakBytes, stored.json.plannedPeakBytes);
  assert.ok(!existsSync(at('photos.tokens.unfinished')));

  const training = thimble('plan', 'train', 'photos.tokens', '--epochs', '40');
  const elsewhere = thimble('plan', 'train', 'photos.tokens', '--epochs', '40', '--device', 'cuda').json;
  assert.ok(Math.abs(elsewhere.plannedPeakBytes / training.json.plannedPeakBytes - 1) < 0.5, `${elsewhere.plannedPeakBytes}`);
  if (!gpuPresent()) assert.equal(elsewhere.seconds, null);
  const trained = thimble('train', 'photos.tokens', '-o', 'model.safetensors', '--epochs', '40');
  assert.equal(trained.status, 0, trained.stderr);
  assert.equal(trained.json.fileBytes, statSync(at('model.safetensors')).size);
  assert.equal(training.json.plannedPeakBytes, trained.json.plannedPeakBytes);

  const { json } = thimble('eval', 'model.safetensors', 'test');
  assert.equal(json.images, 18);
  assert.ok(json.accuracy > 0.7, `accuracy ${json.accuracy}`);
  assert.equal(
    json.confusion.flat().reduce((a: number, b: number) => a + b),
    18,
  );

  const { json: said } = thimble('predict', 'model.safetensors', 'test', at('test', 'disc', '00.png'));
  const asked = [
    thimble('plan', 'eval', 'model.safetensors', 'test'),
    thimble('plan', 'predict', 'model.safetensors', 'test', 'test/disc/00.png'),
  ];
  assert.deepEqual(
    asked.map(({ json }) => [json.images, json.plannedPeakBytes]),
    [
      [18, json.plannedPeakBytes],
      [19, said.plannedPeakBytes],
    ],
  );
  assert.equal(said.predictions.length, 19);
  const right = said.predictions.filter((one: { path: string; class: string }) => one.path.includes(one.class)).length;
  assert.ok(Math.abs(right / 19 - json.accuracy) < 0.1);
});

test('the class of an image does not depend on the images beside it', async () => {
  writeFileSync(at('dot.png'), await encodePng({ width: 1, height: 1, channels: 1, pixels: Uint8Array.of(9) }));
  writeFileSync(at('red.png'), await encodePng({ width: 1, height: 2, channels: 3, pixels: Uint8Array.of(255, 0, 0, 255, 0, 0) }));
  const classes = (...more: string[]): string[] =>
    thimble('predict', 'model.safetensors', 'test/across/00.png', 'test/down/01.png', 'test/disc/02.png', ...more)
      .json.predictions.slice(0, 3)
      .map((one: { class: string }) => one.class);
  assert.deepEqual(classes('dot.png', 'dot.png', 'dot.png', 'dot.png', 'red.png'), classes());
});

test('a budget that is too small names the least that works, and that works', () => {
  const refused = thimble('store', 'train', '--budget', '1kB', '-o', 'small.tokens');
  assert.equal(refused.status, 1);
  const [, least = '', unit = ''] = /under the minimum ([\d.]+) (KiB|B)/.exec(refused.stderr) ?? [];
  const bytes = Math.ceil((Number(least) + 0.1) * (unit === 'B' ? 1 : 1024));
  const ran = thimble('store', 'train', '--budget', String(bytes), '-o', 'small.tokens', '--effort', '0.01');
  assert.equal(ran.status, 0, ran.stderr);
  assert.ok(ran.json.fileBytes <= bytes);
});

test('unreadable images are named, and left out when asked', () => {
  mkdirSync(at('bad', 'a'), { recursive: true });
  mkdirSync(at('bad', 'b'));
  for (let i = 0; i < 6; i++) copyFileSync(at('train', 'disc', `0${i}.png`), at('bad', 'a', `${i}.png`));
  copyFileSync(at('train', 'down', '00.png'), at('bad', 'b', 'only.png')); // a class with one image
  writeFileSync(at('bad', 'a', 'empty.png'), '');
  writeFileSync(at('bad', 'b', 'text.jpg'), 'not an image');
  const args = ['store', 'bad', '--budget', '30kB', '-o', 'bad.tokens', '--effort', '0.01'];
  assert.match(thimble(...args).stderr, /bad\/(a\/empty\.png.*empty|b\/text\.jpg.*not a JPEG)/);
  const { json, stderr } = thimble(...args, '--on-bad', 'skip');
  assert.deepEqual(
    [json?.images, json?.skipped.map(({ path }: { path: string }) => path.split('/').at(-1))],
    [7, ['empty.png', 'text.jpg']],
    stderr,
  );
  const asked = ['predict', 'model.safetensors', 'gone.png', at('test', 'disc')];
  assert.match(thimble(...asked).stderr, /\[image\] gone\.png: no such file/);
  const { json: told } = thimble(...asked, '--on-bad', 'skip');
  assert.deepEqual([told?.predictions.length, told?.skipped], [6, [{ path: 'gone.png', reason: 'no such file' }]]);
});

test('what is missing, empty or damaged is said in one line', () => {
  mkdirSync(at('empty'));
  assert.match(thimble('store', 'empty', '--budget', '30kB', '-o', 'x.tokens').stderr, /\[images\] empty has no images/);
  assert.match(thimble('store', 'nowhere', '--budget', '30kB', '-o', 'x.tokens').stderr, /nowhere: no such file or folder/);
  assert.match(thimble('store', 'train', '--budget', '2Mb', '-o', 'x.tokens').stderr, /reads as bits/);
  assert.match(thimble('store', 'train', '--budget', '30kB', '-o', join('no', 'x.tokens')).stderr, /no folder/);
  assert.match(thimble('store', 'train', '--budget', '30kB', '-o', 'empty').stderr, /empty is a folder; name a file in it/);
  copyFileSync(at('photos.tokens'), at('cut.tokens'));
  truncateSync(at('cut.tokens'), 5000);
  const cut = thimble('train', 'cut.tokens', '-o', 'x.safetensors');
  assert.equal(cut.status, 1);
  assert.match(cut.stderr, /cut\.tokens/);
  assert.match(thimble('eval', 'photos.tokens', 'test').stderr, /photos\.tokens/);
  assert.match(thimble('train', 'train', '-o', 'x.safetensors').stderr, /^\[frames\].*train: it is a folder$/m);
  assert.match(thimble('plan', 'doctor', 'x').stderr, /'doctor' has no plan; plan store, train, eval, predict/);
  assert.match(thimble('plan', 'eval', 'model.safetensors').stderr, /\[plan\] eval takes a model and images, not 1 paths/);
  assert.match(thimble('plan', 'train', 'photos.tokens', '--budget', '3kB').stderr, /\[plan\] train takes no --budget; leave it out/);
  assert.match(thimble('plan', 'store', 'train', '--budget', '3kB', '--epochs', '3').stderr, /\[plan\] store takes no --epochs/);
  assert.match(thimble('plan', 'train', 'no.tokens').stderr, /^\[frames\].*no\.tokens: no such file$/m);
  assert.match(thimble('store', 'train', '--budget', '30kB', '-o', 'x.tokens', '--effort', '2').stderr, /--effort 2: .*up to 1/);
  assert.ok(!existsSync(at('x.tokens')) && !existsSync(at('x.safetensors')));
});

/** Runs until it says that it has begun `phase`, then interrupts it. */
async function interrupted(phase: RegExp, ...args: string[]): Promise<number | null> {
  const child = spawn(process.execPath, [main, ...args, '--json', '--progress'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  let pressed = false;
  // Once: a second Ctrl-C means something else.
  const press = (): void => {
    if (!pressed) child.kill('SIGINT');
    pressed = true;
  };
  const watch = setInterval(() => {
    // Work that has written a checkpoint has something to lose.
    if (existsSync(at('again.tokens.unfinished', 'tokenizer.safetensors.checkpoint'))) press();
  }, 50);
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (phase.test(said)) press();
  });
  const code = await new Promise<number | null>((done) => child.on('close', done));
  clearInterval(watch);
  return code;
}

test('an interrupted store goes on where it was, and ends with the same bytes', async () => {
  const args = ['store', 'train', '--budget', '30kB', '--effort', '0.3'];
  const whole = thimble(...args, '-o', 'whole.tokens');
  assert.equal(whole.status, 0, whole.stderr);
  assert.equal(await interrupted(/never/, ...args, '-o', 'again.tokens'), 130);
  assert.ok(existsSync(at('again.tokens.unfinished')) && !existsSync(at('again.tokens')));

  const other = thimble('store', 'train', '--budget', '29kB', '--effort', '0.3', '-o', 'again.tokens');
  assert.match(other.stderr, /unfinished work that began otherwise \(budget 30000, now 29000\).*--fresh/);
  const [one, two] = [at('train/across/00.png'), at('train/disc/00.png')];
  const was = readFileSync(one);
  copyFileSync(two, one);
  assert.match(thimble(...args, '-o', 'again.tokens').stderr, /unfinished work that began otherwise \(pixels "\w{32}", now "\w{32}"\)/);
  writeFileSync(one, was);
  const resumed = thimble(...args, '-o', 'again.tokens');
  assert.equal(resumed.status, 0, resumed.stderr);
  assert.deepEqual(readFileSync(at('again.tokens')), readFileSync(at('whole.tokens')));
  assert.ok(!existsSync(at('again.tokens.unfinished')));
});

test('work goes on where nobody reads its progress any more', async () => {
  const args = ['store', 'train', '--budget', '30kB', '--effort', '0.1', '-o', 'alone.tokens', '--progress'];
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.once('data', () => child.stderr.destroy());
  assert.equal(await new Promise((done) => child.on('close', done)), 0);
  assert.ok(existsSync(at('alone.tokens')) && !existsSync(at('alone.tokens.lock')));
});
