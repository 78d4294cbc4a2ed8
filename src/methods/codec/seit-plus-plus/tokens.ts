/** Between grids of code indices and grids of vectors. */
import { argmax, embedding, matmul, normalize, permute, reshape, type Tensor, transpose } from '../../../tensor/index.ts';

/** Indices [B, h, w] as vectors [B, d_c, h, w] of a codebook [K, d_c]. */
export function codesToGrid(codes: Tensor, codebook: Tensor): Tensor {
  return permute(embedding(codebook, codes), [0, 3, 1, 2]);
}

/** [B, d, h, w] -> [B, h, w, d]. */
export const channelsLast = (grid: Tensor): Tensor => permute(grid, [0, 2, 3, 1]);

/**
 * The code nearest to each vector of a grid [B, d_c, h, w] by cosine, i32 [B, h, w]; the lowest index among equals. Both sides are
 * normalised, so that argmin ||z/|z| - c/|c|||^2 is argmax of a matrix product.
 */
export function gridToCodes(grid: Tensor, codebook: Tensor): Tensor {
  const [B, d, h, w] = grid.shape as [number, number, number, number];
  const rows = normalize(reshape(channelsLast(grid), [B * h * w, d]));
  return reshape(argmax(matmul(rows, transpose(normalize(codebook)))), [B, h, w]);
}
