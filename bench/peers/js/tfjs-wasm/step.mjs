/** node step.mjs --threads 1 --reps 5: the reference train step on TensorFlow.js with its WebAssembly backend. */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { ADAMW, BATCH, D, HEADS, ids, LAYERS, measure, parameters, TOKENS, targets, VOCAB } from '../reference.mjs';

const require = createRequire(import.meta.url);
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');

// Its thread pool exists in browsers only (WASM_HAS_MULTITHREAD_SUPPORT is false in Node), so the line says 1 whatever is asked.
await measure('tfjs-wasm', tf.version.tfjs, 1, async () => {
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  if (!(await tf.setBackend('wasm'))) throw new Error('the wasm backend did not start');
  await tf.ready();

  const p = {},
    moments = {};
  for (const { name, shape, data } of parameters()) {
    p[name] = tf.variable(tf.tensor(data, shape));
    moments[name] = [tf.variable(tf.zeros(shape)), tf.variable(tf.zeros(shape))];
  }
  // Gathers have no gradient kernel in this backend: one-hot products stand in for them.
  const oneHotIds = tf.oneHot(tf.tensor1d(ids, 'int32'), VOCAB).toFloat();
  const oneHotTargets = tf.oneHot(tf.tensor1d(targets, 'int32'), VOCAB).toFloat();
  const mask = tf.tidy(() =>
    tf.tensor(
      Float32Array.from({ length: TOKENS * TOKENS }, (_, i) => (i % TOKENS > Math.floor(i / TOKENS) ? -1e9 : 0)),
      [TOKENS, TOKENS],
    ),
  );

  const norm = (x, g, b) => {
    const centred = x.sub(x.mean(-1, true));
    return centred.mul(centred.square().mean(-1, true).add(1e-5).rsqrt()).mul(g).add(b);
  };
  const gelu = (x) => x.mul(x.mul(Math.SQRT1_2).erf().add(1)).mul(0.5);
  const heads = (x) => x.reshape([BATCH, TOKENS, HEADS, D / HEADS]).transpose([0, 2, 1, 3]);

  const loss = () =>
    tf.tidy(() => {
      let x = oneHotIds.matMul(p.e).reshape([BATCH, TOKENS, D]).add(p.p).reshape([-1, D]);
      for (let i = 0; i < LAYERS; i++) {
        const [q, k, v] = norm(x, p[`l1g${i}`], p[`l1b${i}`]).matMul(p[`qkv${i}`]).add(p[`qkvb${i}`]).split(3, 1).map(heads);
        const weights = tf.softmax(
          tf
            .matMul(q, k, false, true)
            .mul((D / HEADS) ** -0.5)
            .add(mask),
        );
        const mixed = tf.matMul(weights, v).transpose([0, 2, 1, 3]).reshape([-1, D]);
        x = x.add(mixed.matMul(p[`o${i}`]).add(p[`ob${i}`]));
        const hidden = gelu(norm(x, p[`l2g${i}`], p[`l2b${i}`]).matMul(p[`f1${i}`]).add(p[`f1b${i}`]));
        x = x.add(hidden.matMul(p[`f2${i}`]).add(p[`f2b${i}`]));
      }
      const logits = norm(x, p.lfg, p.lfb).matMul(p.h);
      return tf.logSoftmax(logits).mul(oneHotTargets).sum(-1).mean().neg();
    });

  const { lr, beta1, beta2, eps, weightDecay } = ADAMW;
  return async (t) => {
    const result = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(loss, Object.values(p));
      for (const [name, w] of Object.entries(p)) {
        const g = grads[w.name],
          [m, v] = moments[name];
        m.assign(m.mul(beta1).add(g.mul(1 - beta1)));
        v.assign(v.mul(beta2).add(g.square().mul(1 - beta2)));
        const update = m.div(1 - beta1 ** t).div(
          v
            .div(1 - beta2 ** t)
            .sqrt()
            .add(eps),
        );
        w.assign(w.mul(1 - lr * weightDecay).sub(update.mul(lr)));
      }
      return value;
    });
    const value = (await result.data())[0];
    result.dispose();
    return value;
  };
});
