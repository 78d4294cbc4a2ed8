/** Products of few rows with what may be computed beside them: weights [out, in], rows from 1 on, sizes with rests. */
import * as t from '../../../tensor/index.ts';
import { apart, type Case, floats, halves, type Input } from '../inputs.ts';

type Tensor = t.Tensor;

export const fewRows: Case[] = apart(() =>
  [1, 2, 5, 8]
    .flatMap((m) =>
      (['f32', 'bf16'] as const).flatMap((dtype): Case[] => {
        const [k, n] = [[2312, 1160][m - 1] ?? 72, 9 + m]; // some longer than what a warp reads at once
        const values = (...shape: number[]): Input => (dtype === 'f32' ? floats(shape, -1, 1) : halves(shape));
        const weights = (...shape: number[]): Input => {
          const scale = 2 ** -Math.floor(Math.log2(k!) / 2); // products of about 1: what is rounded on the way stays small beside them
          return dtype === 'f32' ? floats(shape, -scale, scale) : halves(shape, scale);
        };
        const tolerance = dtype === 'f32' ? {} : { tolerance: 2e-2 };
        const project = (x: Tensor, w: Tensor): Tensor => t.matmul(x, t.transpose(w));
        const wide = (y: Tensor): Tensor => t.cast(y, 'f32');
        const what = (name: string): Pick<Case, 'name' | 'ops' | 'tolerance'> => ({
          name: `${m} x ${k} x ${n} ${dtype}: ${name}`,
          ops: ['matmul'],
          ...tolerance,
        });
        return [
          { ...what('product'), inputs: [values(1, m, k), weights(n, k)], f: (x, w) => wide(project(x, w)) },
          {
            ...what('norm, product, residual'),
            inputs: [values(1, m, k), weights(n, k), values(1, m, n), floats([k], 0.5, 1.5)],
            f: (x, w, r, g) => wide(t.add(r, project(t.rmsNorm(x, g, 1e-3), w))),
          },
          {
            ...what('gated halves'),
            inputs: [values(1, m, k), weights(2 * n, k)],
            f: (x, w) => {
              const [gate, up] = t.split(project(t.rmsNorm(x), w), 2) as [Tensor, Tensor];
              return wide(t.mul(t.silu(gate), up));
            },
          },
          {
            ...what('weights [in, out], gated halves'),
            inputs: [values(1, m, k), weights(k, 144), values(72)],
            f: (x, w, r) => {
              const [gate, up] = t.split(t.matmul(t.rmsNorm(x), w), 2) as [Tensor, Tensor];
              return wide(t.add(t.mul(t.sigmoid(gate), up), r));
            },
          },
          {
            ...what('of an expression, with a bias'),
            inputs: [values(m, k), weights(n, k), values(n)],
            f: (x, w, b) => wide(t.tanh(t.add(project(t.mul(x, t.sigmoid(x)), w), b))),
          },
        ];
      }),
    )
    .concat(
      // more columns than all blocks of a GPU have at once
      [1, 3].map((m) => ({
        name: `${m} x 264 x 4260 bf16: norm, product, residual`,
        ops: ['matmul'],
        forwardOnly: true,
        tolerance: 2e-2,
        inputs: [halves([1, m, 264]), halves([4260, 264], 2 ** -4), halves([1, m, 4260])],
        f: (x, w, r) => t.cast(t.add(r, t.matmul(t.rmsNorm(x), t.transpose(w))), 'f32'),
      })),
    )
    .concat(
      // columns that warps share, and rows that a block's threads hold in one pack each
      (
        [
          [1, 5640, 21],
          [2, 5640, 21],
          [1, 2048, 70],
        ] as const
      ).map(([m, k, n]) => ({
        name: `${m} x ${k} x ${n} bf16: norm with a gain, product, residual, product`,
        ops: ['matmul'],
        forwardOnly: true,
        tolerance: 2e-2,
        inputs: [halves([1, m, k]), halves([n, k], 2 ** -5), halves([1, m, n]), floats([k], 0.5, 1.5), halves([k, n], 2 ** -2)],
        f: (x, w, r, g, v) => {
          const y = t.add(r, t.matmul(t.rmsNorm(x, g), t.transpose(w)));
          return t.cast(t.concat([y, t.matmul(x, t.transpose(w)), t.matmul(y, t.transpose(v))], 2), 'f32');
        },
      })),
    ),
);
