import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { encodePng } from '../io/index.ts';
import { plan, predict, store, train } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'thimble-mistakes-'));
after(() => rmSync(folder, { recursive: true }));
const [picture, source, out] = ['a.png', 'all.csv', 'out'].map((name) => join(folder, name)) as [string, string, string];
writeFileSync(picture, await encodePng({ width: 4, height: 4, channels: 1, pixels: new Uint8Array(16) }));
writeFileSync(source, 'a.png,a');

test('what plain JavaScript forgets is told by its name, before anything is read', async () => {
  const none = undefined as never;
  const cases: [() => Promise<unknown>, RegExp][] = [
    [() => store(source, none), /\[store\] its options are undefined; give an object/],
    [() => store(source, { out } as never), /\[bytes\] undefined is not a size; give a number of bytes, or a text/],
    [() => store(source, { budget: '1MB', out: none }), /\[store\] out is undefined; give a path/],
    [() => store(none, { budget: '1MB', out }), /\[store\] source is undefined; give a path/],
    [() => store(source, { budget: '1MB', out, method: 3 as never }), /\[methods\] there is no method '3'; thimble methods lists/],
    [
      () => store(source, { budget: '1MB', out, onBad: 'leave' as never }),
      /\[images\] onBad is 'leave'; let an unreadable image 'fail', or/,
    ],
    [() => store(source, { budget: '1MB', out, effort: 2 }), /\[store\] effort 2 is not a share/],
    [() => train(source, none), /\[train\] its options are undefined/],
    [() => predict('model', none), /\[predict\] no images are named; give paths/],
    [() => predict('model', []), /\[predict\] no images are named/],
    [() => plan(none), /\[plan\] its options are undefined/],
    [() => plan({ task: 'bench' } as never), /\[plan\] there is no plan of the task 'bench'; plan store, train, eval, predict/],
    [() => plan({ task: 'store', source, budget: '1MB', effort: 2 }), /\[store\] effort 2 is not a share/],
    [() => plan({ task: 'predict', model: 'model' } as never), /\[predict\] no images are named/],
  ];
  for (const [f, message] of cases) await assert.rejects(f, message, String(f));
});
