/** node step.mjs --threads 1 --reps 5: the reference train step on jax-js, jitted whole, WebAssembly device. */
import './threads.mjs';
import { readFileSync } from 'node:fs';
import { defaultDevice, init, jit, nn, numpy as np, valueAndGrad } from '@jax-js/jax';
import { ADAMW, BATCH, D, HEADS, ids, LAYERS, measure, option, parameters, TOKENS, targets, VOCAB } from '../reference.mjs';

const version = JSON.parse(readFileSync(new URL('./node_modules/@jax-js/jax/package.json', import.meta.url))).version;

await measure('jax-js', version, option('threads', 1), async () => {
  await init('wasm');
  defaultDevice('wasm');
  const tree = (make) => Object.fromEntries(parameters().map(({ name, shape, data }) => [name, make(data, shape)]));
  let p = tree((data, shape) => np.array(data).reshape(shape));
  let m = tree((_, shape) => np.zeros(shape)),
    v = tree((_, shape) => np.zeros(shape));
  const x0 = np.array(ids),
    goal = np.array(targets);

  const norm = (x, g, b) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(g).add(b);
  const linear = (x, w, b) => np.matmul(x, w).add(b);

  // nn.dotProductAttention means the same, but its einsum needs the iterator helpers of Node 22.
  const heads = (x) => np.transpose(x.reshape([BATCH, TOKENS, HEADS, D / HEADS]), [0, 2, 1, 3]);

  const loss = (p, ids, targets) => {
    const causal = np.tri(TOKENS, TOKENS, 0, { dtype: np.bool });
    let x = np
      .matmul(nn.oneHot(ids, VOCAB), p.e)
      .reshape([BATCH, TOKENS, D])
      .add(p.p)
      .reshape([BATCH * TOKENS, D]);
    for (let i = 0; i < LAYERS; i++) {
      const qkv = linear(norm(x.ref, p[`l1g${i}`], p[`l1b${i}`]), p[`qkv${i}`], p[`qkvb${i}`]);
      const [q, k, val] = np.split(qkv, 3, 1).map(heads);
      const scores = np.matmul(q, np.swapaxes(k, -1, -2)).mul((D / HEADS) ** -0.5);
      const weights = nn.softmax(np.where(causal.ref, scores, -1e9), -1);
      const mixed = np.transpose(np.matmul(weights, val), [0, 2, 1, 3]).reshape([BATCH * TOKENS, D]);
      x = x.add(linear(mixed, p[`o${i}`], p[`ob${i}`]));
      const hidden = nn.gelu(linear(norm(x.ref, p[`l2g${i}`], p[`l2b${i}`]), p[`f1${i}`], p[`f1b${i}`]), { approximate: false });
      x = x.add(linear(hidden, p[`f2${i}`], p[`f2b${i}`]));
    }
    causal.dispose();
    const logits = np.matmul(norm(x, p.lfg, p.lfb), p.h);
    return nn.logSoftmax(logits, -1).mul(nn.oneHot(targets, VOCAB)).sum(-1).mean().neg();
  };

  const { lr, beta1, beta2, eps, weightDecay } = ADAMW;
  const step = jit((p, m, v, c1, c2, ids, targets) => {
    const held = Object.fromEntries(Object.entries(p).map(([k, x]) => [k, x.ref]));
    const [value, grads] = valueAndGrad(loss)(held, ids, targets);
    const next = { p: {}, m: {}, v: {} };
    for (const k of Object.keys(p)) {
      const g = grads[k];
      const mk = m[k].mul(beta1).add(g.ref.mul(1 - beta1));
      const vk = v[k].mul(beta2).add(np.square(g).mul(1 - beta2));
      const update = mk.ref.mul(c1.ref).div(np.sqrt(vk.ref.mul(c2.ref)).add(eps));
      next.p[k] = p[k].mul(1 - lr * weightDecay).sub(update.mul(lr));
      next.m[k] = mk;
      next.v[k] = vk;
    }
    c1.dispose();
    c2.dispose();
    return { ...next, loss: value };
  });

  return async (t) => {
    const out = step(p, m, v, np.array(1 / (1 - beta1 ** t)), np.array(1 / (1 - beta2 ** t)), x0.ref, goal.ref);
    ({ p, m, v } = out);
    return (await out.loss.data())[0];
  };
});
