/** The other ways to make an image smaller: Lanczos (EfficientTrain++) and nearest neighbour (the control that aliases). */
import { cast, matmul, ShapeError, type Tensor, take, tensor, transpose } from '../../../tensor/index.ts';

/** The side S of images [b, c, S, S]. @throws where they are not square or `to` is not in 1..S */
export function sideOrThrow(who: string, images: Tensor, to: number): number {
  const [height, width] = images.shape.slice(-2) as [number, number];
  if (images.rank !== 4 || height !== width)
    throw new ShapeError(`[${who}] needs square images [b, c, S, S], not [${images.shape.join(', ')}]`);
  if (!Number.isInteger(to) || to < 1 || to > height) throw new RangeError(`[${who}] side ${to} is outside 1..${height} of the images`);
  return height;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/**
 * f64 [to, from]: the Lanczos filter of three lobes, stretched by the scale so that it also removes what cannot be shown, weights normalised at
 * the borders: Pillow's `resize`, without its rounding to bytes.
 */
function lanczosMatrix(from: number, to: number): Float64Array {
  const matrix = new Float64Array(to * from);
  const scale = from / to;
  const support = 3 * Math.max(1, scale);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(from, Math.floor(centre + support + 0.5));
    let total = 0;
    for (let at = first; at < end; at++) {
      const x = (at + 0.5 - centre) / Math.max(1, scale);
      const weight = Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
      matrix[i * from + at] = weight;
      total += weight;
    }
    for (let at = first; at < end; at++) matrix[i * from + at]! /= total;
  }
  return matrix;
}

/** Images [b, c, S, S] -> [b, c, B, B] by `lanczosMatrix` on both axes. */
export function lanczosResize(images: Tensor, B: number): Tensor {
  const S = sideOrThrow('lanczosResize', images, B);
  if (B === S) return images;
  const matrix = transpose(tensor(lanczosMatrix(S, B), { shape: [B, S] }));
  const along = (x: Tensor): Tensor => transpose(matmul(x, matrix));
  return cast(along(along(cast(images, 'f32'))), images.dtype);
}

/** Images [b, c, S, S] -> [b, c, B, B] by the pixel whose centre is nearest: frequencies that do not fit come back as others. */
export function nearestResize(images: Tensor, B: number): Tensor {
  const S = sideOrThrow('nearestResize', images, B);
  if (B === S) return images;
  const index = tensor(Int32Array.from({ length: B }, (_, i) => Math.floor(((i + 0.5) * S) / B)));
  return take(take(images, index, 2), index, 3);
}
