import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs, { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { FormatError } from '../../io/errors.ts';
import { FrameReader, FrameWriter } from '../../io/frames.ts';
import { headerOf } from './description.ts';
import { CODECS, type CodecId, estimateStoreBytes, TokenStore, type TokenStoreConfig, TokenStoreWriter } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'thimble-tokens-'));
after(() => rmSync(folder, { recursive: true }));
const classNames = (n: number): string[] => Array.from({ length: n }, (_, c) => `c${c}`);
const DIGITS: TokenStoreConfig = {
  K: 256,
  grid: [7, 7],
  channels: 16,
  codec: 'packed',
  classes: classNames(10),
  image: { height: 28, width: 28, channels: 1 },
};

/** Token t of image i: skewed towards small codes. */
const token = (i: number, t: number, K: number): number => Math.floor(K * ((Math.imul(i * 131 + t + 1, 2654435761) >>> 0) / 2 ** 32) ** 3);
const imageOf = (i: number, { K, grid }: TokenStoreConfig): Uint16Array =>
  Uint16Array.from({ length: grid[0] * grid[1] }, (_, t) => token(i, t, K));
const codebookOf = ({ K, channels }: TokenStoreConfig): Float32Array => Float32Array.from({ length: K * channels }, (_, i) => Math.sin(i));

function write(name: string, config: TokenStoreConfig, images: number): string {
  const path = join(folder, name);
  using writer = TokenStoreWriter.create(path, config, { codebook: codebookOf(config), overwrite: true });
  for (let i = 0; i < images; i++) writer.append(imageOf(i, config), config.classes.length ? i % config.classes.length : undefined);
  assert.deepEqual(writer.finish(), { images, fileBytes: statSync(path).size });
  return path;
}

test('what was written is read: tokens, labels, codebook, attachments, in any order, cached or not', () => {
  const shape = fc.record({
    codec: fc.constantFrom<CodecId>('escape8', 'packed', 'entropy'),
    K: fc.integer({ min: 2, max: 510 }),
    h: fc.integer({ min: 1, max: 6 }),
    w: fc.integer({ min: 1, max: 6 }),
    images: fc.nat({ max: 40 }),
    shardImages: fc.integer({ min: 1, max: 17 }),
    classes: fc.constantFrom(0, 1, 2, 10, 300),
    channels: fc.constantFrom(0, 3),
    cacheBytes: fc.constantFrom(0, 100, 1 << 20),
  });
  fc.assert(
    fc.property(shape, ({ h, w, images, classes, cacheBytes, ...rest }) => {
      const config: TokenStoreConfig = { ...rest, grid: [h, w], classes: classNames(classes), note: { mean: 0.5 } };
      const path = write('any', config, images);
      using store = new TokenStore(path, { cacheBytes });
      assert.equal(store.size, images);
      assert.deepEqual(store.description.note, { mean: 0.5 });
      if (config.channels) assert.deepEqual(store.codebook(), codebookOf(config));
      const order = Array.from({ length: images }, (_, i) => (i * 7 + 3) % images);
      const batch = store.readBatch(order, new Int32Array(images * h * w));
      order.forEach((i, b) => assert.deepEqual([...batch.subarray(b * h * w, (b + 1) * h * w)], [...imageOf(i, config)]));
      let seen = 0;
      for (const { index, tokens, label } of store) {
        assert.deepEqual(tokens, imageOf(index, config));
        assert.equal(label, classes ? index % classes : undefined);
        seen++;
      }
      assert.equal(seen, images);
      store.verify();
      const estimate = estimateStoreBytes(config, images);
      assert.ok(store.fileBytes <= estimate, `${store.fileBytes} > ${estimate}`);
      if (config.codec === 'packed') assert.equal(store.fileBytes, estimate);
    }),
    { numRuns: 120 },
  );
});

test('20,000 images of 49 tokens: overhead under 2 % with the codebook, entropy under packed, estimate exact', () => {
  const images = 20_000;
  const payload = images * 49 + images / 2;
  const sizes = (['packed', 'entropy', 'escape8'] as const).map((codec) => {
    const config = { ...DIGITS, codec };
    const bytes = statSync(write(`fashion.${codec}`, config, images)).size;
    assert.ok(bytes <= estimateStoreBytes(config, images));
    return bytes;
  });
  assert.equal(sizes[0], estimateStoreBytes(DIGITS, images));
  assert.ok(sizes[0]! < 1.02 * payload, `${sizes[0]} bytes, payload ${payload}`);
  assert.ok(sizes[1]! < sizes[0]!, `${sizes}`);
  using store = new TokenStore(join(folder, 'fashion.entropy'));
  assert.equal(store.bytesPerImage, sizes[1]! / images);
  store.verify();
  assert.ok(store.residentBytes < 8 << 20);
});

test('shards are kept until they fill what they may take', () => {
  const config = { ...DIGITS, classes: [], shardImages: 10 }; // 490 bytes of tokens a shard
  const path = write('kept', config, 60);
  const resident = (cacheBytes: number): number => {
    using store = new TokenStore(path, { cacheBytes });
    const empty = store.residentBytes;
    for (let i = 0; i < store.size; i++) assert.deepEqual(store.read(i), imageOf(i, config));
    return store.residentBytes - empty;
  };
  assert.equal(resident(1470) - resident(0), 1470);
  assert.equal(resident(1469) - resident(0), 980);
  assert.equal(resident(1 << 20) - resident(0), 2940);
});

test('shards out of order, of too many images or too long for them are refused', () => {
  const config = { ...DIGITS, channels: 0, classes: [], shardImages: 10 };
  const open = (name: string, bytes: number, images: number): TokenStore => {
    const path = join(folder, 'odd');
    using frames = FrameWriter.create(path, headerOf(config), { overwrite: true });
    frames.append(name, new Uint8Array(bytes), images);
    frames.commit({ final: true });
    return new TokenStore(path);
  };
  open('tokens.0', 490, 10).close();
  const refused = /section 'tokens\.\d' \(shard 0\) has \d+ images in \d+ bytes; at most 10 images in \d+ bytes/;
  for (const [name, bytes, images] of [
    ['tokens.1', 490, 10],
    ['tokens.0', 539, 11],
    ['tokens.0', 491, 10],
  ] as const)
    assert.throws(() => open(name, bytes, images), refused, `${name} ${bytes} ${images}`);
});

test('a new process reads the same tokens', async () => {
  const path = write('fresh', { ...DIGITS, codec: 'entropy' }, 300);
  const code = `const { TokenStore } = await import(process.argv[1]); const s = new TokenStore(process.argv[2]);
    console.log(JSON.stringify([...s].map(({ tokens, label }) => [label, ...tokens])))`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, sibling('index'), path]);
  let out = '';
  for await (const chunk of child.stdout) out += chunk;
  assert.deepEqual(
    JSON.parse(out),
    Array.from({ length: 300 }, (_, i) => [i % 10, ...imageOf(i, DIGITS)]),
  );
});

test('every bit of a small store flipped: an error, or the same content', () => {
  const config: TokenStoreConfig = { K: 5, grid: [2, 2], channels: 2, codec: 'entropy', classes: ['a', 'b'], shardImages: 9 };
  const content = (path: string): string => {
    using store = new TokenStore(path);
    return JSON.stringify([store.description, [...store].map(({ tokens, label }) => [label, ...tokens]), [...store.codebook()]]);
  };
  const bytes = readFileSync(write('flips', config, 14));
  const whole = content(join(folder, 'flips'));
  const path = join(folder, 'flipped');
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    writeFileSync(path, bytes);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    try {
      assert.equal(content(path), whole, `bit ${bit}`);
    } catch (error) {
      assert.ok(error instanceof FormatError, `bit ${bit}: ${error}`);
    }
  }
});

test('a damaged shard is found at its first touch, and the others stay readable', () => {
  const path = write('touch', { ...DIGITS, shardImages: 100 }, 300);
  const bytes = readFileSync(path);
  bytes[bytes.length - 2500]! ^= 4;
  writeFileSync(path, bytes);
  using store = new TokenStore(path, { cacheBytes: 0 });
  assert.deepEqual(store.read(0), imageOf(0, DIGITS));
  assert.throws(() => store.read(299), /touch: section 'tokens.2' .* is damaged \(checksum differs\)/);
  assert.throws(() => store.verify(), FormatError);
});

test('an unfinished store says so, can be read as far as it goes, and resumed', () => {
  const path = join(folder, 'unfinished');
  const config: TokenStoreConfig = { ...DIGITS, shardImages: 10 };
  const writer = TokenStoreWriter.create(path, config, { codebook: codebookOf(config), attachments: { decoder: Uint8Array.of(1, 2, 3) } });
  for (let i = 0; i < 25; i++) writer.append(imageOf(i, config), 1);
  assert.equal(writer.committed, 20);
  writer.close();
  assert.throws(() => new TokenStore(path), /unfinished or cut off: 20 images are committed; restore/);
  using partial = new TokenStore(path, { unfinished: true });
  assert.equal(partial.size, 20);
  const whole = readFileSync(path);
  const damaged = Buffer.from(whole);
  {
    using frames = new FrameReader(path);
    damaged[frames.get('tokens.1').offset]! ^= 1;
  }
  writeFileSync(path, damaged);
  assert.throws(() => TokenStoreWriter.resume(path), /damaged \(checksum differs\)/);
  writeFileSync(path, whole);
  const resumed = TokenStoreWriter.resume(path);
  assert.equal(resumed.size, 20);
  resumed.append(imageOf(20, config), 1);
  resumed.commit({ next: 'b.png' });
  assert.deepEqual(resumed.state, { next: 'b.png' });
  resumed.finish();
  using store = new TokenStore(path);
  assert.deepEqual(store.attachment('decoder'), Buffer.of(1, 2, 3));
  assert.equal(store.attachment('none'), undefined);
  assert.deepEqual(store.read(20), imageOf(20, config));
});

test('a disk that fills within a shard: the writer says so, takes no more images, and goes on once there is room', () => {
  const config: TokenStoreConfig = { ...DIGITS, channels: 0, shardImages: 10 };
  const whole = readFileSync(write('roomy', config, 10));
  const path = join(folder, 'disk');
  const real = fs.writeSync;
  for (let writes = 0; writes < 3; writes++) {
    using writer = TokenStoreWriter.create(path, config, { overwrite: true });
    let left = writes; // tokens, labels, commit
    fs.writeSync = ((...args: Parameters<typeof real>) => {
      if (left-- === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      return real(...args);
    }) as typeof real;
    syncBuiltinESMExports();
    try {
      for (let i = 0; i < 9; i++) writer.append(imageOf(i, config), i);
      assert.throws(() => writer.append(imageOf(9, config), 9), /disk of .* is full/);
    } finally {
      fs.writeSync = real;
      syncBuiltinESMExports();
    }
    assert.throws(() => writer.append(imageOf(10, config), 0), /commit of 10 images failed; commit again/);
    writer.commit();
    assert.equal(writer.committed, 10);
    writer.finish();
    assert.ok(readFileSync(path).equals(whole), `after ${writes} writes`);
  }
});

test('names what does not fit', () => {
  const create =
    (config: Partial<TokenStoreConfig>, codebook = codebookOf(DIGITS)) =>
    () =>
      TokenStoreWriter.create(join(folder, 'bad'), { ...DIGITS, ...config }, { codebook });
  assert.throws(create({ codec: 'escape8', K: 511 }), /\[escape8\] K = 511; this codec takes 2 to 510/);
  assert.throws(create({ codec: 'zip' as CodecId }), /unknown codec 'zip'; use escape8, packed, entropy/);
  assert.throws(create({}, new Float32Array(3)), /the codebook has 3 numbers, K = 256 codes of 16 channels have 4096/);
  assert.throws(create({ grid: [0, 7] }), /grid height is 0/);
  using writer = TokenStoreWriter.create(join(folder, 'bad'), DIGITS, { codebook: codebookOf(DIGITS) });
  assert.throws(() => writer.append([1, 2], 0), /image 0 has 2 tokens, its grid 7 x 7 has 49/);
  assert.throws(() => writer.append(new Uint16Array(49).fill(256), 0), /token 256 at 0, K = 256/);
  assert.throws(() => writer.append(new Uint16Array(49), 10), /label 10; the store has 10 classes/);
  assert.throws(() => writer.append(new Uint16Array(49)), /label undefined/);
  writer.finish();
  using store = new TokenStore(join(folder, 'bad'));
  assert.throws(() => store.read(0), /image 0 of .* which has 0/);
  assert.throws(() => store.readBatch([0], new Int32Array(3)), /room for 3 tokens, 1 images of 49 have 49/);
});

const sibling = (name: string): string => new URL(`./${name}${extname(fileURLToPath(import.meta.url))}`, import.meta.url).href;

test('kill -9 while writing, 20 times: committed images stay, and the finished store is the one written in one go', async () => {
  const config: TokenStoreConfig = { ...DIGITS, codec: 'entropy', channels: 0, shardImages: 16 };
  const path = join(folder, 'killed');
  const code = `const { TokenStoreWriter } = await import(process.argv[1]);
    const { writeSync, existsSync } = await import('node:fs');
    const path = process.argv[2], config = JSON.parse(process.argv[3]);
    const writer = existsSync(path) ? TokenStoreWriter.resume(path) : TokenStoreWriter.create(path, config);
    const token = ${token.toString()};
    for (;;) {
      const i = writer.size;
      writer.append(Array.from({ length: 49 }, (_, t) => token(i, t, 256)), i % 10);
      if (writer.committed > i) writeSync(1, writer.committed + '\\n');
    }`;
  let told = 0;
  for (let round = 0; round < 20; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', code, sibling('index'), path, JSON.stringify(config)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    const first = new Promise((resolve) => child.stdout.on('data', (data) => resolve((out += data))));
    const closed = new Promise((resolve) => child.on('close', resolve));
    await Promise.race([first, closed]);
    setTimeout(() => child.kill('SIGKILL'), Math.random() * 20);
    await closed;
    told = Math.max(told, ...out.split('\n').slice(0, -1).map(Number));
    using store = new TokenStore(path, { unfinished: true });
    assert.ok(store.size === told || store.size === told + 16, `told ${told}, found ${store.size}`);
    for (const { index, tokens, label } of store) {
      assert.deepEqual(tokens, imageOf(index, config));
      assert.equal(label, index % 10);
    }
    told = store.size;
  }
  assert.ok(told >= 320, `${told}`);
  TokenStoreWriter.resume(path).finish();
  assert.ok(readFileSync(path).equals(readFileSync(write('atonce', config, told))));
});

test('a well-sealed header that asks for absurd sizes is refused', () => {
  for (const lie of [{ K: 1e9 }, { grid: [1e9, 1e9] }, { shardImages: 1e12 }, { classes: 7 }, { codec: '__proto__' }])
    assert.throws(() => estimateStoreBytes({ ...DIGITS, ...lie } as unknown as TokenStoreConfig, 1), RangeError);
  assert.equal(Object.keys(CODECS).length, 3);
});
