/** What kernels compute in place of what was written. Needs no GPU. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTraced } from '../../tensor/assemble-traced.ts';
import { add, gelu, geluTanh, grad, sub, sum, type Tensor, tanh } from '../../tensor/index.ts';
import { typeOf } from '../../tensor/shape.ts';
import { preludeSource, programSource } from './index.ts';
import { rulesOn } from './rules.ts';

const kernelsOf = (f: (x: Tensor) => Tensor): string =>
  programSource(assembleTraced(rulesOn(), (x) => [f(x!)], [typeOf([64, 128], 'f32')]).program).source.slice(preludeSource().length);

test('GELUs and their gradients are made of the sums with 1, without the function', () => {
  const gradient = (f: (x: Tensor) => Tensor) => (x: Tensor) => grad((y: Tensor) => sum(f(y)))(x);
  for (const f of [geluTanh, gradient(geluTanh)]) assert.match(kernelsOf(f), /^(?!.*tanhf).*one_plus_tanh/s);
  for (const f of [gelu, gradient(gelu)]) assert.match(kernelsOf(f), /^(?!.*erf_ratio).*one_plus_erf/s);
  assert.match(kernelsOf(gradient(geluTanh)), /slope_of_tanh/);
});

test('a tanh that is read otherwise as well stays', () => {
  assert.match(
    kernelsOf((x) => sub(add(1, tanh(x)), tanh(x))),
    /^(?!.*one_plus).*tanhf/s,
  );
});
