import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { imports } from './imports.mjs';
import { exampleFault, importFault, layers, lintLayers, missingFiles, placeFault } from './layers.mjs';

const specifiers = (text) => imports(text).map(({ specifier, line }) => `${line}:${specifier}`);

test('imports are found in every form, with their lines', () => {
  const text = [
    "import { a } from './a.ts';",
    "import type {\n  B,\n} from '../b.ts';",
    "import './effect.ts';",
    'export * from "./c.ts";',
    "const d = await import('./d.ts');",
    "type E = import('./e.ts').E;",
  ].join('\n');
  assert.deepEqual(specifiers(text), ['1:./a.ts', '4:../b.ts', '5:./effect.ts', '6:./c.ts', '7:./d.ts', '8:./e.ts']);
});

test('imports in comments, strings, templates and regular expressions are not imports', () => {
  const text = [
    "// import './no1.ts'",
    "/* from './no2.ts' */",
    `const s = "import './no3.ts'";`,
    "const t = `from './no4.ts' ${f(`import('./no5.ts')`)} from './no6.ts'`;",
    "const r = /['\"`]/.test(x) ? a / b : /[/']/;",
    "const u = `${ await import('./yes.ts') }`;",
    "import './last.ts';",
  ].join('\n');
  assert.deepEqual(specifiers(text), ['6:./yes.ts', '7:./last.ts']);
});

test('the table is acyclic and names only its own rows', () => {
  const depth = (folder, path = []) => {
    assert.ok(!path.includes(folder), `cycle: ${[...path, folder].join(' > ')}`);
    for (const lower of layers[folder]) {
      assert.ok(lower in layers, `${folder} names ${lower}, which has no row`);
      depth(lower, [...path, folder]);
    }
  };
  for (const folder of Object.keys(layers)) depth(folder);
});

test('a layer imports from those below it and from no other', () => {
  const may = (from, to) => assert.equal(importFault(from, to), null);
  const mayNot = (from, to, why) => assert.match(importFault(from, to) ?? 'allowed', why);
  may('tensor/a.ts', 'bytes/index.ts');
  may('train/loop.ts', 'data/index.ts');
  may('cli/main.ts', 'methods/catalogue.ts');
  may('index.ts', 'train/index.ts');
  may('tensor.ts', 'device/index.ts');
  may('tensor/grad.test.ts', 'device/cpu/index.ts');
  mayNot('tensor/grad.ts', 'device/cpu/index.ts', /tensor imports device, but may import only bytes;/);
  mayNot('bytes/a.test.ts', 'nn/index.ts', /bytes imports nn/);
  mayNot('io/a.ts', 'nn/index.ts', /io imports nn/);
  mayNot('nn/a.ts', 'io/index.ts', /nn imports io/);
  mayNot('data/a.ts', 'train/index.ts', /data imports train/);
  mayNot('report/a.ts', 'methods/method.ts', /report imports methods/);
  mayNot('index.ts', 'methods/method.ts', /index.ts imports methods/);
  mayNot('train/a.ts', 'tensor.ts', /train imports tensor.ts/);
  mayNot('misc/a.ts', 'bytes/index.ts', /src\/misc is in no layer/);
});

test('a method is known to itself and to the registry alone', () => {
  const [one, other] = ['methods/codec/one/index.ts', 'methods/codec/other/index.ts'];
  assert.equal(importFault(one, 'methods/codec/one/grid.ts'), null);
  assert.equal(importFault(one, 'methods/method.ts'), null);
  assert.equal(importFault('methods/registry.generated.ts', one), null);
  assert.match(importFault(other, one) ?? '', /codec\/one is imported from outside its folder; move what both need/);
  assert.match(importFault('methods/catalogue.ts', one) ?? '', /imported from outside its folder; load it by id/);
  assert.match(importFault('cli/demo.ts', one) ?? '', /load it by id/);
});

test('a method folder is flat and complete', () => {
  assert.equal(placeFault('methods/codec/one/grid.ts'), null);
  assert.equal(placeFault('methods/codec/one/bench.json'), null);
  assert.equal(placeFault('methods/contracts/codec.ts'), null);
  assert.equal(placeFault('methods/method.ts'), null);
  assert.match(placeFault('methods/codec/one/golden.bin') ?? '', /tests\/golden/);
  assert.match(placeFault('methods/codec/one/deep/a.ts') ?? '', /flat/);
  assert.match(placeFault('methods/codec/shared.ts') ?? '', /one folder per method/);
  assert.deepEqual(missingFiles(['methods/codec/one/index.ts', 'methods/codec/one/bench.json', 'bytes/size.ts']), [
    'methods/codec/one/index.test.ts',
  ]);
});

test('examples import the package by its name', () => {
  assert.equal(exampleFault('thimble/tensor'), null);
  assert.equal(exampleFault('node:fs'), null);
  assert.match(exampleFault('zod') ?? '', /not 'zod'/);
});

test('a tree on disk is linted with file, line, rule and way out', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'thimble-layers-'));
  t.after(() => rmSync(root, { recursive: true }));
  const write = (path, text) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  write('src/bytes/a.ts', "\nimport { b } from '../tensor/b.ts';\n");
  write('src/tensor/b.ts', "import { z } from 'zod';\nimport data from '../../data/x.json';\n");
  write('examples/e.ts', "import '../src/bytes/a.ts';\nimport 'zod';\n");
  assert.deepEqual(lintLayers(root, ['bytes/a.ts', 'tensor/b.ts'], ['e.ts']), [
    'src/bytes/a.ts:2: layers: bytes imports tensor, but may import no other layer; move the code down, or pass it in as an argument',
    "src/tensor/b.ts:2: layers: imports '../../data/x.json' from outside src/; read it as data at run time",
    "examples/e.ts:1: layers: examples import 'thimble/...', node: and one another, not '../src/bytes/a.ts'; import the package by its name",
    "examples/e.ts:2: layers: examples import 'thimble/...', node: and one another, not 'zod'; import the package by its name",
  ]);
});
