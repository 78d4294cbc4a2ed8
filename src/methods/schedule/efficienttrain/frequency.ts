/** The low-frequency crop: exact down-sampling, in the Fourier domain without a Fourier transform. */
import { cast, matmul, mul, narrow, reshape, sub, type Tensor, tensor, transpose } from '../../../tensor/index.ts';
import { sideOrThrow } from './resample.ts';

/**
 * One axis of the crop as real numbers, f64 [B + 1, S]. With h = B / 2,
 *
 *     W[n, s] = (1 / B) (B / S) sum over k in -h..h-1 of exp(2 pi i k (n / B - s / S))
 *
 * transforms, keeps the frequencies below h, scales and transforms back, and X' = Re(W X W^T) = P X P^T - Q X Q^T for W = P + iQ. All
 * frequencies but -h come in pairs, so Q has rank one: Q[n, s] = (-1)^n q[s]. Rows 0..B-1 are P, row B is q.
 */
export function cropMatrix(S: number, B: number): Float64Array {
  const matrix = new Float64Array((B + 1) * S);
  const h = B / 2;
  for (let s = 0; s < S; s++) {
    for (let n = 0; n < B; n++) {
      // the phase is taken modulo a turn in whole numbers: exact for any k
      const turn = (k: number): number => Math.cos((2 * Math.PI * ((k * (n * S - s * B)) % (S * B))) / (S * B));
      let sum = 1 + turn(h);
      for (let k = 1; k < h; k++) sum += 2 * turn(k);
      matrix[n * S + s] = sum / S;
    }
    matrix[B * S + s] = Math.sin((Math.PI * ((B * s) % (2 * S))) / S) / S;
  }
  return matrix;
}

/**
 * Images [b, c, S, S] with the frequencies below B / 2 alone, sampled at [b, c, B, B]; B even, or B = S. The mean grey level stays. One
 * matrix product an axis and a correction by one number an image (`cropMatrix`). Wang et al. 2023, arXiv 2211.09703, section 4.1.
 *
 * Serves as the encoder input of masked autoencoders as well.
 */
export function lowFrequencyCrop(images: Tensor, B: number): Tensor {
  const S = sideOrThrow('lowFrequencyCrop', images, B);
  if (B === S) return images;
  if (B % 2 !== 0) throw new RangeError(`[lowFrequencyCrop] side ${B} is odd; frequencies pair up in even sides: use ${B - 1} or ${B + 1}`);
  const W = tensor(cropMatrix(S, B), { shape: [B + 1, S] });
  const along = (x: Tensor): Tensor => transpose(matmul(x, transpose(W)));
  const both = along(along(cast(images, 'f32'))); // [b, c, B + 1, B + 1]: P X P^T, and q^T X q in the corner
  const corner = narrow(narrow(both, 2, B, 1), 3, B, 1);
  const sign = tensor(Float32Array.from({ length: B }, (_, n) => 1 - 2 * (n % 2)));
  const checkers = mul(reshape(sign, [B, 1]), reshape(sign, [1, B]));
  const real = sub(narrow(narrow(both, 2, 0, B), 3, 0, B), mul(corner, checkers));
  return cast(real, images.dtype);
}
