import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as t from '../../tensor/index.ts';
import { CpuDevice, NullDevice } from '../index.ts';

const order = t.compile((x: t.Tensor) => t.argsort(x));
const planOn = (device: t.Device) => t.withDevice(device, () => order.plan(t.empty(t.typeOf([100_000], 'i64'))));

test('it plans as the device that it stands for', () => {
  const cpu = new CpuDevice();
  const [asked, stood, plain] = [planOn(cpu), planOn(new NullDevice(cpu)), planOn(new NullDevice())];
  assert.equal(stood.peakBytes, asked.peakBytes);
  assert.ok(plain.peakBytes < asked.peakBytes, 'sorting needs room of its own on the processor');
});

test('it counts what is taken and given back', () => {
  const device = new NullDevice();
  const tensor = t.empty(t.typeOf([1000], 'f32'), device);
  assert.equal(device.allocatedBytes, 4000);
  tensor.dispose();
  assert.deepEqual([device.allocatedBytes, device.peakBytes], [0, 4000]);
});
