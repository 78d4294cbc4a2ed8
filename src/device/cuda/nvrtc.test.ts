/** Every generated kernel compiles. Needs NVRTC but no GPU. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { assemble } from '../../tensor/assemble.ts';
import { grad } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { Trace, within } from '../../tensor/trace.ts';
import { type Case, cases, weighted } from '../conformance/cases.ts';
import { readable } from './cublaslt.ts';
import { hasKernel, programSource } from './index.ts';
import { openLibrary } from './libraries.ts';
import { cachedCubin, compileCubin } from './nvrtc.ts';

let missing: string | false = false;
try {
  openLibrary('nvrtc');
} catch (error) {
  missing = (error as Error).message;
}
const target = { fused: hasKernel, gemmReads: readable };

function sourceOf(c: Case): string {
  const trace = new Trace();
  const inputs = c.inputs.map((i) => trace.input(typeOf(i.shape, i.dtype)));
  const outputs = within(trace, () => {
    const value = c.f(...inputs);
    const gradients = c.forwardOnly ? [] : (grad((xs: Tensor[]) => weighted(c.f(...xs)))(inputs) as (Tensor | undefined)[]);
    return [value, ...gradients.filter((g) => g !== undefined)];
  });
  const types = [...inputs.map((t) => t.type), ...[...trace.captured.keys()].map((t) => t.type)];
  return programSource(
    assemble(
      target,
      outputs.map((t) => trace.valueOf(t)),
      types,
      new Set(),
    ).program,
  ).source;
}

test('the conformance programs compile', { skip: missing }, () => {
  // one attention in tiles stands for all: they are templates that take seconds each
  const tiled = cases.filter((c) => c.tolerance);
  const sources = cases.filter((c) => !c.tolerance || c === tiled[0]).map(sourceOf);
  // one module of everything: the kernels of each program in a namespace of names of its own
  const prelude = sources[0]!.slice(0, sources[0]!.indexOf('extern "C"'));
  const bodies = sources.map((s, i) => s.slice(prelude.length).replaceAll(/(\) )(k\d+)\(/g, `$1p${i}_$2(`));
  assert.ok(compileCubin(prelude + bodies.join('\n'), 'sm_90').length > 10_000);
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
