import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Device, defaultDevice, registerDevice } from './device.ts';

const named = (name: string): Device => ({ name }) as Device;

test('without a wish the best device that is here is taken, and one that fails is told about once', (t) => {
  delete process.env.THIMBLE_DEVICE;
  let opened = 0;
  registerDevice('small', () => named('small'), { priority: 0 });
  registerDevice('asked for only', () => named('asked for only'));
  registerDevice('absent', () => assert.fail('opened'), { priority: 3, present: () => false });
  registerDevice(
    'broken',
    () => {
      opened++;
      throw new Error('[broken] its driver is too old; update it\nmore');
    },
    { priority: 2, present: () => true },
  );
  const lines: string[] = [];
  t.mock.method(process.stderr, 'write', (line: string) => lines.push(line));
  assert.equal(defaultDevice().name, 'small');
  assert.equal(defaultDevice().name, 'small');
  t.mock.restoreAll();
  assert.equal(opened, 1);
  assert.deepEqual(lines, ['[broken] its driver is too old; update it; running on the small device (THIMBLE_DEVICE=small asks for it)\n']);
});
