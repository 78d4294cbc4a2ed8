import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type DType, itemSize } from '../tensor/dtype.ts';
import { FormatError } from './errors.ts';
import { openSafetensors, readSafetensors, type TensorRecord, type TensorSource, writeSafetensors } from './safetensors.ts';

const golden = new URL('../../tests/golden/safetensors/', import.meta.url);
let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'thimble-safetensors-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const bytesOf = (...values: number[]): Uint8Array => new Uint8Array(new Float32Array(values).buffer);

/** The bytes of a file with this header and this much data. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const out = Buffer.alloc(8 + text.length + dataBytes);
  out.writeBigUInt64LE(BigInt(text.length));
  text.copy(out, 8);
  return out;
}

async function open(bytes: Uint8Array): Promise<void> {
  const path = join(folder, 'case.safetensors');
  await writeFile(path, bytes);
  await readSafetensors(path);
}

test('reads what the reference package wrote', async () => {
  const expected = JSON.parse(await readFile(new URL('golden.json', golden), 'utf8'));
  const path = new URL('golden.safetensors', golden).pathname;
  await using file = await openSafetensors(path);
  assert.deepEqual(file.metadata, { format: 'np', note: 'made by safetensors' });
  assert.deepEqual([...file.tensors.keys()].sort(), Object.keys(expected).sort());
  const arrays = {
    f32: Float32Array,
    i64: BigInt64Array,
    i32: Int32Array,
    u8: Uint8Array,
    i8: Int8Array,
    bool: Uint8Array,
    f16: Uint16Array,
    bf16: Uint16Array,
  };
  for (const [name, { shape, values }] of Object.entries<{ shape: number[]; values: number[] }>(expected)) {
    assert.deepEqual(file.tensors.get(name)!.shape, shape);
    if (name === 'wide') {
      await assert.rejects(file.read(name), /wide is F64, which is not read; convert it/);
      continue;
    }
    const { dtype, data } = await file.read(name);
    const read = Array.from(new arrays[dtype](data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / itemSize[dtype]), Number);
    const wanted = dtype === 'f16' ? [0x3800, 0xbc00, 0x7bff] : values.map((v) => Math.fround(Number(v)));
    assert.deepEqual(read, dtype === 'i64' ? values : wanted, name);
  }
});

test('what we write, the reference package reads', async (t) => {
  const path = join(folder, 'ours.safetensors');
  await writeSafetensors(path, {
    mask: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
    '7': { dtype: 'f32', shape: [1, 2], data: bytesOf(1.5, -2) },
    index: { dtype: 'i64', shape: [], data: new Uint8Array(new BigInt64Array([5n]).buffer) },
  });
  const program = `
from safetensors.numpy import load_file
t = load_file(${JSON.stringify(path)})
print(sorted((k, str(v.dtype), list(v.shape), v.ravel().tolist()) for k, v in t.items()))`;
  const python = process.env.THIMBLE_PYTHON ?? 'python3';
  const { status, stdout } = spawnSync(python, ['-c', program], { encoding: 'utf8' });
  if (status !== 0) return t.skip('no Python with safetensors (THIMBLE_PYTHON names one)');
  assert.equal(
    stdout.trim(),
    "[('7', 'float32', [1, 2], [1.5, -2.0]), ('index', 'int64', [], [5]), ('mask', 'bool', [3], [True, False, True])]",
  );
});

const dtype = fc.constantFrom(...(Object.keys(itemSize) as DType[]));
const tensor: fc.Arbitrary<TensorRecord> = fc
  .tuple(dtype, fc.array(fc.nat(4), { maxLength: 3 }), fc.nat(255))
  .map(([dtype, shape, fill]) => ({ dtype, shape, data: new Uint8Array(shape.reduce((a, b) => a * b, itemSize[dtype])).fill(fill) }));
const tensors = fc.dictionary(
  fc.string().filter((name) => name !== '__metadata__'),
  tensor,
  { maxKeys: 5 },
);
const metadata = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 });

test('round trip of any tensors and metadata; tensors lie aligned', () =>
  fc.assert(
    fc.asyncProperty(tensors, metadata, fc.boolean(), async (tensors, metadata, lazy) => {
      const path = join(folder, 'any.safetensors');
      const sources = new Map<string, TensorSource>(
        Object.entries(tensors).map(([name, t]) => [name, lazy ? { ...t, data: async () => t.data } : t]),
      );
      const bytes = await writeSafetensors(path, sources, { metadata });
      assert.equal(bytes, (await readFile(path)).length);
      const read = await readSafetensors(path);
      assert.deepEqual(new Map(Object.entries(tensors)), read.tensors);
      const { 'thimble.sha256': digest, 'thimble.sealed': sealed, ...rest } = read.metadata;
      assert.match(digest!, /^[0-9a-f]{64}$/);
      assert.equal(sealed, '1');
      assert.deepEqual(new Map(Object.entries(rest)), new Map(Object.entries(metadata)));
      await using file = await openSafetensors(path);
      for (const { dtype, byteOffset } of file.tensors.values()) assert.equal(byteOffset % itemSize[dtype!], 0);
    }),
    { numRuns: 100 },
  ));

async function sample(): Promise<Uint8Array> {
  const path = join(folder, 'sample.safetensors');
  await writeSafetensors(path, {
    a: { dtype: 'f32', shape: [2], data: bytesOf(1, 2) },
    b: { dtype: 'u8', shape: [3], data: Uint8Array.of(1, 2, 3) },
  });
  return readFile(path);
}

test('every truncation is an error', async () => {
  const whole = await sample();
  for (let length = 0; length < whole.length; length++) await assert.rejects(open(whole.subarray(0, length)), FormatError, `${length}`);
  await assert.rejects(open(Buffer.concat([whole, Buffer.alloc(1)])), FormatError);
});

test('every single flipped bit of a sealed file is an error', async () => {
  const whole = await sample();
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const copy = Uint8Array.from(whole);
    copy[bit >> 3]! ^= 1 << (bit & 7);
    await assert.rejects(open(copy), FormatError, `bit ${bit}`);
  }
});

test('random damage of a foreign header is read or refused, never a crash', async () => {
  const whole = await readFile(new URL('golden.safetensors', golden));
  const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(damage, async (edits) => {
      const copy = Uint8Array.from(whole);
      for (const [at, value] of edits) copy[at] = value;
      await open(copy).catch((error) => assert.ok(error instanceof FormatError, String(error)));
    }),
    { numRuns: 300 },
  );
});

test('the rules of the format', async () => {
  const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]): unknown => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  });
  const cases: [unknown, number, RegExp][] = [
    [{ a: f32(0, 8), b: f32(4, 12) }, 12, /"b" begins at byte 4, the tensor before it ends at 8: overlap/],
    [{ a: f32(0, 4), b: f32(8, 12) }, 12, /hole/],
    [{ a: f32(4, 8) }, 8, /hole/],
    [{ a: f32(0, 8) }, 4, /ends at byte 8, the data section has 4/],
    [{ a: f32(0, 4) }, 8, /4 bytes after the last tensor/],
    [{ a: f32(0, 8, [3]) }, 8, /F32 \[3\] takes 12 bytes, data_offsets \[0, 8\] hold 8/],
    [{ a: f32(0, 8, [-2]) }, 8, /not a list of counts/],
    [{ a: f32(0, 8, [1e300, 1e300]) }, 8, /not a list of counts/],
    [{ a: f32(0, 8, [2 ** 40, 2 ** 40]) }, 8, /overflows/],
    [{ a: f32(8, 0, [2]) }, 8, /takes 8 bytes/],
    [{ a: { dtype: 'F33', shape: [], data_offsets: [0, 4] } }, 4, /unknown dtype "F33"/],
    [{ a: { dtype: 'toString', shape: [], data_offsets: [0, 4] } }, 4, /unknown dtype/],
    [{ a: 3 }, 0, /is not an object/],
    [{ __metadata__: { a: 1 } }, 0, /not a map of strings/],
    ['[]', 0, /does not begin with/],
    ['{"a"', 0, /not JSON/],
  ];
  for (const [header, dataBytes, message] of cases) await assert.rejects(open(fileOf(header, dataBytes)), message);
  const huge = fileOf({}, 0);
  new DataView(huge.buffer, huge.byteOffset).setBigUint64(0, 2n ** 63n, true);
  await assert.rejects(open(huge), /header of 9223372036854776000 bytes in a file of 10; truncated/);
});

test('wrong use is named', async () => {
  const path = join(folder, 'never.safetensors');
  const wrong = { w: { dtype: 'f32', shape: [3], data: bytesOf(1) } } as const;
  await assert.rejects(writeSafetensors(path, wrong as never), /w: f32 \[3\] takes 12 bytes, got 4/);
  for (const shape of [
    [-1, -1],
    [0.5, 2],
    [2 ** 30, 2 ** 30],
  ])
    await assert.rejects(writeSafetensors(path, { w: { dtype: 'f32', shape, data: bytesOf(1) } }), /w: bad shape \[/, String(shape));
  await assert.rejects(readFile(path), { code: 'ENOENT' });
  await assert.rejects(openSafetensors(path), { code: 'ENOENT', message: `[safetensors] ${path}: no such file` });
  await assert.rejects(openSafetensors('x'.repeat(300)), { code: 'ENAMETOOLONG', message: /^\[safetensors\] x+: ENAMETOOLONG/ });
  await assert.rejects(openSafetensors(folder), /is a folder, not a safetensors file/);
  await sample();
  await using file = await openSafetensors(join(folder, 'sample.safetensors'));
  await assert.rejects(file.read('c'), /has no tensor c; it has a, b/);
  await assert.rejects(file.read('a', new Uint8Array(7)), /takes 8 bytes, the buffer has 7/);
});
