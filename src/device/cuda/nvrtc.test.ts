/** Every generated kernel compiles. Needs NVRTC but no GPU. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { grad, linearCrossEntropy, zeros } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { cases } from '../conformance/cases/index.ts';
import type { Case } from '../conformance/inputs.ts';
import { weighted } from '../conformance/run.ts';
import type { Abilities } from './calls.ts';
import { preludeSource, programSource } from './index.ts';
import { openLibrary } from './libraries.ts';
import { archOf, cachedCubin, compileCubin, nvrtcAbilities } from './nvrtc.ts';
import { rulesOn } from './rules.ts';

let missing: string | false = false;
try {
  openLibrary('nvrtc');
} catch (error) {
  missing = (error as Error).message;
}
const target = rulesOn();

function sourceOf(c: Case, abilities?: Abilities): string {
  const both = (...inputs: Tensor[]): Tensor[] => {
    const value = c.f(...inputs);
    const gradients = c.forwardOnly ? [] : (grad((xs: Tensor[]) => weighted(c.f(...xs)))(inputs) as (Tensor | undefined)[]);
    return [value, ...gradients.filter((g) => g !== undefined)];
  };
  const types = c.inputs.map((i) => typeOf(i.shape, i.dtype));
  return programSource(assembleTraced(target, both, types).program, abilities).source;
}

test('the conformance programs compile', { skip: missing }, () => {
  // one attention in tiles stands for all: they are templates that take seconds each
  const tiled = cases.filter((c) => c.tolerance);
  const sources = cases.filter((c) => !c.tolerance || c === tiled[0]).map((c) => sourceOf(c));
  // one module of everything: the kernels of each program in a namespace of names of its own
  const prelude = preludeSource();
  const bodies = sources.map((s, i) => s.slice(prelude.length).replaceAll(/\bk\d+/g, `p${i}_$&`));
  assert.ok(compileCubin(prelude + bodies.join('\n'), 'sm_90').length > 10_000);
});

test('attention of wide heads compiles for cards with little shared memory', { skip: missing }, () => {
  const wide = cases.find((c) => c.name.startsWith('attention in bf16') && c.name.includes('heads of 128'))!;
  const [large, small] = [sourceOf(wide, { capability: 80 }), sourceOf(wide, { capability: 86, sharedBytes: 99 << 10 })];
  assert.notEqual(small, large);
  assert.ok(compileCubin(small, 'sm_86').length > 10_000);
});

test("attention's gradient takes the tiles of Hopper there, which compile", { skip: missing }, () => {
  const sources = ['4/2 heads of 64', '2/1 heads of 128'].map((heads) =>
    sourceOf(cases.find((c) => c.name.includes(`bf16, `) && c.name.includes(heads))!),
  );
  for (const source of sources) {
    assert.match(source, /attention_grad_kv_hopper</);
    compiledAtOnce(source);
  }
});

/** Compiles for Hopper; warpgroup products that wait for each other are told of by the compiler and by nothing else. */
function compiledAtOnce(source: string): void {
  assert.equal(archOf(source, 90), 'sm_90a');
  assert.ok(compileCubin(source, 'sm_90a', (log) => assert.doesNotMatch(log, /serialized/)).length > 10_000);
}

test('halves compile for cards that cannot convert them', { skip: missing }, () => {
  const step = cases.find((c) => c.name.startsWith("a decoder's step in bf16"))!;
  assert.ok(compileCubin(sourceOf(step, { capability: 75 }), 'sm_75').length > 10_000);
});

test("linearCrossEntropy's tiles compile for Hopper, filtered and not, with a bias and a soft cap too", { skip: missing }, () => {
  const tiled = cases.filter((c) => c.name.startsWith('linearCrossEntropy in bf16'));
  const whole = tiled.find((c) => c.name.includes('many classes'))!;
  const capped: Case = { ...tiled[0]!, f: (e, c, y) => linearCrossEntropy(e, c, y, { softCap: 30, bias: zeros([600]) }) };
  for (const source of [tiled[0]!, capped].map((c) => sourceOf(c))) {
    assert.equal(archOf(source, 90), 'sm_90a');
    assert.ok(compileCubin(source, 'sm_90a').length > 10_000);
  }
  assert.match(sourceOf(whole), /linear_xent_round/);
  compiledAtOnce(sourceOf(whole));
});

test('a damaged cache entry is compiled again', { skip: missing }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-cuda-'));
  try {
    const source = 'extern "C" __global__ void nothing() {}';
    const first = Buffer.from(cachedCubin(source, 'sm_90', folder));
    const [name] = readdirSync(folder);
    writeFileSync(join(folder, name!), Buffer.alloc(100, 7));
    assert.deepEqual(Buffer.from(cachedCubin(source, 'sm_90', folder)), first);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('two processes that compile the same kernel at once both get it, and leave one entry', { skip: missing }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-cuda-'));
  try {
    const code = `
      import { createHash } from 'node:crypto';
      const { cachedCubin } = await import(${JSON.stringify(new URL('./nvrtc.js', import.meta.url).href)});
      const code = cachedCubin('extern "C" __global__ void twice(float *x) { *x *= 2; }', 'sm_90');
      process.stdout.write(createHash('sha256').update(code).digest('hex'));
    `;
    const env = { ...process.env, THIMBLE_CACHE: folder };
    const one = async (): Promise<string> =>
      (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { env })).stdout;
    const made = await Promise.all([one(), one(), one()]);
    assert.match(made[0]!, /^[0-9a-f]{64}$/);
    assert.deepEqual(new Set(made).size, 1);
    assert.equal(readdirSync(folder).length, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a cache that cannot be written costs time, nothing else', { skip: missing }, () => {
  const source = 'extern "C" __global__ void nothing() {}';
  assert.deepEqual(Buffer.from(cachedCubin(source, 'sm_90', '/dev/null/below')), compileCubin(source, 'sm_90'));
});

test('NVRTC knows the cards that it makes code for', { skip: missing }, () => {
  const { version, architectures } = nvrtcAbilities();
  assert.ok(version >= 11000);
  assert.ok(architectures.includes(90), architectures.join());
});
