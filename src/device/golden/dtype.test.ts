import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cast, compile, fromBf16, fromBytes, fromF16, type Tensor, toBf16, toF16, typeOf } from '../../tensor/index.ts';
import { goldenCases, goldenDevices } from '../conformance/golden.ts';

const formats = { bf16: { to: toBf16, from: fromBf16 }, f16: { to: toF16, from: fromF16 } };
const [{ device: cpu }] = goldenDevices;
const bitsOf = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0]!;

for (const c of goldenCases('dtype')) {
  const dtype = c.name.endsWith('bf16') ? 'bf16' : 'f16';
  const { to, from } = formats[dtype];
  const bits = Uint32Array.from(c.inputs['bits']!.data);
  const values = new Float32Array(bits.buffer);
  const x = (): Tensor => fromBytes(new Uint8Array(bits.buffer), typeOf([bits.length], 'f32'), cpu);
  const stored = (t: Tensor): number[] => [...new Uint16Array(t.rawData().buffer)];
  const narrow = compile((t: Tensor) => cast(t, dtype));
  const widen = compile((t: Tensor) => cast(t, 'f32'));
  const both = compile((t: Tensor) => cast(cast(t, dtype), 'f32'));

  if (c.name.includes('NaN'))
    test(c.name, () => {
      assert.ok([...values].every((v) => Number.isNaN(from(to(v)))));
      assert.ok([...widen(narrow(x())).data()].every(Number.isNaN));
      assert.ok([...both(x()).data()].every(Number.isNaN));
    });
  else
    test(c.name, () => {
      const expected = c.outputs['bits']!.data;
      const back = c.outputs['backToF32Bits']!.data;
      assert.deepEqual([...values].map(to), expected, 'on the host');
      assert.deepEqual(
        expected.map((b) => bitsOf(from(b))),
        back,
        'and back',
      );
      assert.deepEqual(stored(narrow(x())), expected, 'by the kernels');
      assert.deepEqual([...widen(narrow(x())).data()].map(bitsOf), back, 'by the kernels and back');
      assert.deepEqual([...both(x()).data()].map(bitsOf), back, 'there and back in one kernel');
    });
}
