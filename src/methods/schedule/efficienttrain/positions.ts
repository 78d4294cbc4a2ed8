/**
 * Positions that follow the side of the images.
 *
 * At a change of side the learned positions, their optimiser moments and their average are interpolated to the new grid, as published, and
 * are trained there as they are. (Keeping the full grid and interpolating inside the program, which `Vit.positionsFor` does for any other grid,
 * would leave the moments alone; but then small stages train the positions through a fixed low-pass filter, which is another method.)
 */
import { type AdamWState, resizePositions, Vit } from '../../../nn/index.ts';
import { compile, maximum, reshape, type Tensor } from '../../../tensor/index.ts';

/** What is trained, and what is remembered of it. */
export interface TrainState {
  model: Vit;
  optimizer: AdamWState<Vit>;
  /** Averaged weights. */
  average?: Vit;
}

type Grid = readonly [number, number];

function regridVit(vit: Vit, grid: Grid, least?: number): Vit {
  const { stem, positions, blocks, norm, head } = vit;
  if (!positions) return new Vit(stem, undefined, blocks, norm, head, grid);
  const moved = resizePositions(positions, vit.grid, grid);
  return new Vit(stem, least === undefined ? moved : maximum(moved, least), blocks, norm, head, grid);
}

const move = compile(
  ({ model, optimizer, average }: TrainState, grid: Grid): TrainState => ({
    model: regridVit(model, grid),
    optimizer: { step: optimizer.step, m: regridVit(optimizer.m, grid), v: regridVit(optimizer.v, grid, 0) },
    ...(average ? { average: regridVit(average, grid) } : {}),
  }),
  { donate: [0], name: 'regrid' },
);

/**
 * The state for images of another grid of patches; the given one is used up. Second moments stay at least 0, where bicubic interpolation
 * overshoots: their roots are divided by.
 */
export function regrid(state: TrainState, grid: Grid): TrainState {
  const [rows, columns] = state.model.grid;
  return rows === grid[0] && columns === grid[1] ? state : move(state, grid);
}

/** A relative-bias table [(2w-1)^2, heads] of a windowed model, for windows of another side. */
export function resizeRelativeBias(table: Tensor, from: number, to: number): Tensor {
  const [a, b] = [2 * from - 1, 2 * to - 1];
  const heads = table.shape[1]!;
  return reshape(resizePositions(reshape(table, [1, a * a, heads]), [a, a], [b, b]), [b * b, heads]);
}
