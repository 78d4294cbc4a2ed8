/**
 * What a product of one row reads first is asked for before its turn: in the machine code, as the assembler may put loads off. Needs NVRTC and
 * cuobjdump, in its toolkit or on the path, but no GPU.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { add, matmul, mul, rmsNorm, silu, split, type Tensor, transpose } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import { programSource } from './index.ts';
import { openLibrary } from './libraries.ts';
import { compileCubin } from './nvrtc.ts';
import { rulesOn } from './rules.ts';

function disassembler(): string {
  const beside = join(dirname(openLibrary('nvrtc').path), '../bin/cuobjdump');
  const found = existsSync(beside) ? beside : 'cuobjdump';
  execFileSync(found, ['--version']);
  return found;
}
let cuobjdump = '';
let missing: string | false = false;
try {
  cuobjdump = disassembler();
} catch (error) {
  missing = (error as Error).message;
}

/** Instructions of each kernel, by name. */
function machineCode(source: string): Map<string, string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'thimble-'));
  try {
    const file = join(folder, 'kernels.cubin');
    writeFileSync(file, compileCubin(source, 'sm_90'));
    const text = execFileSync(cuobjdump, ['-sass', file], { encoding: 'utf8', maxBuffer: 1 << 28 });
    return new Map(
      text
        .split('Function : ')
        .slice(1)
        .map((f) => [f.slice(0, f.indexOf('\n')).trim(), f.split('\n').filter((line) => line.includes(';'))]),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('six or eight packs of weights a thread are on their way before a kernel waits for the one ahead', { skip: missing }, () => {
  const [width, hidden] = [2048, 5632];
  const types = [
    [1, 1, width],
    [3 * width, width],
    [width, 3 * width],
    [2 * hidden, width],
    [width, hidden],
  ].map((shape) => typeOf(shape, 'bf16'));
  const layer = (x: Tensor, qkv: Tensor, out: Tensor, gateUp: Tensor, down: Tensor): Tensor[] => {
    const h = add(x, matmul(matmul(rmsNorm(x), transpose(qkv)), transpose(out)));
    const [gate, up] = split(matmul(rmsNorm(h), transpose(gateUp)), 2) as [Tensor, Tensor];
    return [add(h, matmul(mul(silu(gate), up), transpose(down)))];
  };
  const { source } = programSource(assembleTraced(rulesOn(), layer as (...xs: Tensor[]) => Tensor[], types).program);
  const products = [...machineCode(source)].filter(([name]) => new RegExp(` ${name}\\([^)]*\\) {\\s*gemv<`).test(source));
  assert.equal(products.length, 4);
  for (const [name, code] of products) {
    const turn = code.findIndex((line) => line.includes('ACQBULK')); // griddepcontrol.wait
    const asked = code.slice(0, turn).filter((line) => /LDG\S*\.128/.test(line)).length;
    assert.ok(turn > 0 && asked >= 6, `${name}: ${asked} loads of 16 bytes before instruction ${turn}`);
  }
});
