import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs, { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { FormatError } from './errors.ts';
import { encodeCommit, encodeHeader } from './frame-format.ts';
import { FrameReader, FrameWriter, planFrames } from './frames.ts';

const folder = mkdtempSync(join(tmpdir(), 'thimble-frames-'));
after(() => rmSync(folder, { recursive: true }));
const HEADER = { kind: 'test', producer: 'thimble test', description: { K: 4 } };

/** Deterministic bytes that also contain the magic of a commit now and then. */
function content(seed: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let i = 0, x = seed * 2654435761 + 1; i < length; i++) out[i] = (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 24;
  if (seed % 3 === 0) out.write('\x1aTHMEND\n', length >> 1, 'latin1');
  return out;
}

/** A file of 3 commits with 2 sections each; and after which byte each commit counts (its first copy is whole). */
function smallFile(name: string): { path: string; bytes: Buffer; counts: number[] } {
  const path = join(folder, name);
  const counts: number[] = [];
  using writer = FrameWriter.create(path, HEADER, { overwrite: true });
  for (let c = 0; c < 3; c++) {
    writer.append(`a${c}`, content(2 * c, 40 + c), { c });
    writer.append(`b${c}`, content(2 * c + 1, 9));
    writer.commit({ final: c === 2, state: { next: c + 1 } });
    using reader = new FrameReader(path);
    counts.push(reader.last.first + (reader.committedBytes - reader.last.first) / 2);
  }
  return { path, bytes: readFileSync(path), counts };
}

/** Everything that a reader can see, every section verified. */
function look(path: string): { state: unknown; final: boolean; sections: [string, string][]; description: unknown } {
  using reader = new FrameReader(path, 'test');
  return {
    state: reader.state,
    final: reader.final,
    description: reader.header.description,
    sections: reader.sections.map((s) => [`${s.name} ${JSON.stringify(s.meta)}`, reader.readVerified(s).toString('hex')]),
  };
}

test('reads back what was written; the same input gives the same bytes; the plan is exact', () => {
  const { path, bytes } = smallFile('plain');
  assert.deepEqual(bytes, smallFile('again').bytes);
  const seen = look(path);
  assert.deepEqual(seen.state, { next: 3 });
  assert.equal(seen.final, true);
  assert.deepEqual(seen.sections[2], ['a1 {"c":1}', content(2, 41).toString('hex')]);
  const commits = [0, 1, 2].map((c) => ({
    sections: [
      { name: `a${c}`, length: 40 + c, meta: { c } },
      { name: `b${c}`, length: 9 },
    ],
    state: { next: c + 1 },
  }));
  assert.equal(planFrames(HEADER, commits), bytes.length);
  using reader = new FrameReader(path);
  assert.throws(() => reader.read(reader.get('a0'), 30, 11), /bytes 30..41 of section 'a0', which has 40/);
  assert.throws(() => reader.get('zz'), /no section 'zz'; it has a0, b0/);
  assert.throws(() => new FrameReader(path, 'index'), /holds 'test', not 'index'/);
});

test('cut off after every byte: exactly the last commit before the cut, or an error before the first', () => {
  const { bytes, counts } = smallFile('cut');
  const whole = look(join(folder, 'cut'));
  const path = join(folder, 'cut2');
  for (let size = 0; size <= bytes.length; size++) {
    writeFileSync(path, bytes.subarray(0, size));
    const commits = counts.filter((end) => end <= size).length;
    if (commits === 0) {
      assert.throws(() => look(path), FormatError, `${size} bytes`);
      continue;
    }
    const seen = look(path);
    assert.deepEqual(seen.state, { next: commits });
    assert.deepEqual(seen.sections, whole.sections.slice(0, 2 * commits));
  }
});

test('torn tails: garbage after any cut changes nothing, and a writer resumes to the same file', () => {
  const { bytes, counts } = smallFile('torn');
  const path = join(folder, 'torn2');
  fc.assert(
    fc.property(
      fc.integer({ min: counts[0]!, max: bytes.length }),
      fc.nat({ max: 3000 }),
      fc.constantFrom('zeros', 'noise', 'old'),
      (size, more, what) => {
        const tail = what === 'zeros' ? Buffer.alloc(more) : what === 'noise' ? content(size, more + 16) : bytes.subarray(0, more);
        writeFileSync(path, Buffer.concat([bytes.subarray(0, size), tail]));
        const commits = counts.filter((end) => end <= size).length;
        assert.deepEqual(look(path).state, { next: commits });
        using writer = FrameWriter.resume(path, 'test');
        for (let c = commits; c < 3; c++) {
          writer.append(`a${c}`, content(2 * c, 40 + c), { c });
          writer.append(`b${c}`, content(2 * c + 1, 9));
          writer.commit({ final: c === 2, state: { next: c + 1 } });
        }
        writer.close();
        assert.ok(readFileSync(path).equals(bytes));
      },
    ),
    { numRuns: 200 },
  );
});

test('every bit flipped in turn: an error or the same content, never another', () => {
  const { path, bytes } = smallFile('flip');
  const whole = JSON.stringify(look(path));
  const flipped = join(folder, 'flip2');
  let detected = 0;
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    writeFileSync(flipped, bytes);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    try {
      assert.equal(JSON.stringify(look(flipped)), whole, `bit ${bit}`);
    } catch (error) {
      assert.ok(error instanceof FormatError, `bit ${bit}: ${error}`);
      assert.ok(error.message.includes(flipped), error.message);
      detected++;
    }
  }
  assert.ok(detected > 8 * (6 * 9 + 40), `${detected}`);
});

test('a well-sealed commit that lies about lengths is refused before anything is allocated', () => {
  const path = join(folder, 'lies');
  using writer = FrameWriter.create(path, HEADER);
  writer.append('a', content(1, 8));
  writer.commit();
  writer.close();
  using reader = new FrameReader(path);
  const { commit, first, fileId } = reader.last;
  const head = readFileSync(path).subarray(0, first);
  const lies = [
    { length: 2 ** 52 },
    { offset: 0 },
    { offset: first - 4 },
    { length: -1 },
    { length: 1.5 },
    { crc: -1 },
    { name: undefined as unknown as string },
  ];
  for (const lie of lies) {
    writeFileSync(
      path,
      Buffer.concat([head, encodeCommit({ ...commit, sections: [{ ...commit.sections[0]!, ...lie }] }, first, fileId).pair]),
    );
    assert.throws(() => new FrameReader(path), /malformed: .*section|leaves its place/, JSON.stringify(lie));
  }
  writeFileSync(path, Buffer.concat([head, encodeCommit({ ...commit, seq: 1, prev: { first, length: 10, crc: 0 } }, first, fileId).pair]));
  assert.throws(() => new FrameReader(path), /predecessor does not lie before it/);
  for (const key of ['kind', 'producer', 'description']) {
    writeFileSync(path, encodeHeader({ ...HEADER, [key]: undefined }));
    assert.throws(() => new FrameReader(path), /its header lacks kind, producer or description/, key);
  }
});

test('names stay unique, files are not overwritten, uncommitted sections are dropped', () => {
  const path = join(folder, 'names');
  const writer = FrameWriter.create(path, HEADER);
  writer.append('a', content(1, 8));
  assert.throws(() => writer.append('a', content(1, 8)), /has a section 'a' already/);
  writer.commit();
  writer.append('b', content(2, 80));
  writer.close();
  assert.throws(() => writer.append('c', content(1, 8)), /is closed; resume/);
  assert.throws(() => FrameWriter.create(path, HEADER), /exists; resume it/);
  assert.deepEqual(
    look(path).sections.map(([name]) => name),
    ['a undefined'],
  );
  assert.equal(existsSync(`${path}.lock`), false);
});

test('a new file appears with its first commit, and an old one stays until then', () => {
  const { path } = smallFile('replace');
  const old = look(path);
  const dropped = FrameWriter.create(path, HEADER, { overwrite: true });
  dropped.append('x', content(1, 8));
  dropped.close();
  assert.deepEqual(look(path), old);
  assert.equal(existsSync(`${path}.new`), false);
  using writer = FrameWriter.create(path, HEADER, { overwrite: true });
  writer.commit({ state: 'new' });
  assert.equal(look(path).state, 'new');
});

test('one writer: a live one is named, a dead one is taken over, a stolen lock stops the commit', () => {
  const path = join(folder, 'locked');
  const writer = FrameWriter.create(path, HEADER);
  writer.commit();
  assert.throws(() => FrameWriter.resume(path), new RegExp(`is being written by process ${process.pid}`));
  const lock = readFileSync(`${path}.lock`, 'utf8');
  writeFileSync(`${path}.lock`, lock.replace(/"pid":\d+/, '"pid":4194305'));
  assert.throws(() => writer.commit(), /removed or taken over/);
  FrameWriter.resume(path).close(); // process 4194305 is above every Linux limit: dead
  if (process.platform === 'linux') {
    writeFileSync(`${path}.lock`, lock.replace(/"began":"\d+"/, '"began":"1"'));
    FrameWriter.resume(path).close(); // our own process id, but of an earlier process
  }
  writeFileSync(`${path}.lock`, lock.replace(/"host":"[^"]*"/, '"host":"elsewhere"'));
  assert.throws(() => FrameWriter.resume(path), /on elsewhere/);
  writeFileSync(`${path}.lock`, '');
  assert.throws(() => FrameWriter.resume(path), /just starting/);
  utimesSync(`${path}.lock`, 1, 1);
  FrameWriter.resume(path).close();
  writer.close();
});

test('a full disk is said; what was committed stays, and writing goes on once there is room', () => {
  const path = join(folder, 'full');
  using writer = FrameWriter.create(path, HEADER);
  writer.append('a', content(1, 100));
  writer.commit({ state: 1 });
  const real = fs.writeSync;
  const within = (room: number, work: () => void): void => {
    fs.writeSync = ((fd: number, bytes: Uint8Array, at: number, length: number, position: number) => {
      if (room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      const wrote = real(fd, bytes, at, Math.min(length, room), position);
      room -= wrote;
      return wrote;
    }) as typeof fs.writeSync;
    syncBuiltinESMExports();
    try {
      assert.throws(work, /disk of .*full is full; what was committed is safe: free some space/);
    } finally {
      fs.writeSync = real;
      syncBuiltinESMExports();
    }
  };
  within(30, () => writer.append('b', content(2, 100)));
  assert.deepEqual(look(path).state, 1);
  writer.append('b', content(2, 100));
  within(70, () => writer.commit({ state: 2 }));
  assert.deepEqual(look(path).state, 1);
  writer.commit({ state: 2 });
  assert.deepEqual(look(path).sections[1], ['b undefined', content(2, 100).toString('hex')]);
});

/** Appends and commits sections as fast as it can, telling each commit once it is durable. */
const CHILD = `
  const { FrameWriter } = await import(process.argv[1]);
  const { writeSync, existsSync } = await import('node:fs');
  const path = process.argv[2];
  const writer = existsSync(path) ? FrameWriter.resume(path) : FrameWriter.create(path, ${JSON.stringify(HEADER)});
  for (let i = writer.state ?? 0; ; i++) {
    writer.append('s' + i, Buffer.alloc(1 + (i * 7919) % 30000, i));
    writer.append('t' + i, Buffer.alloc(3, i));
    writer.commit({ state: i + 1 });
    writeSync(1, (i + 1) + '\\n');
  }`;

test('kill -9 at random moments, 24 times: nothing committed is lost, the next writer goes on', async () => {
  const path = join(folder, 'killed');
  const module = new URL(`./frames${extname(fileURLToPath(import.meta.url))}`, import.meta.url).href;
  let told = 0;
  for (let round = 0; round < 24; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, module, path], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let complaint = '';
    child.stderr.on('data', (data) => (complaint += data));
    const first = new Promise((resolve) => child.stdout.on('data', (data) => resolve((out += data))));
    const closed = new Promise((resolve) => child.on('close', resolve));
    await Promise.race([first, closed]);
    setTimeout(() => child.kill('SIGKILL'), Math.random() * 25);
    await closed;
    assert.equal(complaint, '');
    const lines = out.split('\n').slice(0, -1);
    told = Math.max(told, Number(lines.at(-1) ?? 0));
    using reader = new FrameReader(path, 'test');
    const commits = Number(reader.state);
    assert.ok(commits === told || commits === told + 1, `told ${told}, found ${commits}`);
    assert.equal(reader.sections.length, 2 * commits);
    for (let i = 0; i < commits; i++) {
      assert.ok(reader.readVerified(reader.get(`s${i}`)).equals(Buffer.alloc(1 + ((i * 7919) % 30000), i)));
      assert.ok(reader.readVerified(reader.get(`t${i}`)).equals(Buffer.alloc(3, i)));
    }
    told = commits;
  }
  assert.ok(told >= 24, `${told}`);
});
