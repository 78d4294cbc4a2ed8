/** Stored pixels as the tokenizer's input. */
import { type ImageShape, imageBytes } from '../../../data/index.ts';
import { bicubicResize, broadcastTo, cast, mul, permute, sum, type Tensor, tensor } from '../../../tensor/index.ts';

/** Images whose codes are asked for together: as many as 16 MiB of f32 hold, at most 256. */
export const imagesAtOnce = (shape: ImageShape): number => Math.max(1, Math.min(256, Math.floor(2 ** 22 / imageBytes(shape))));

/** Luma of sRGB (ITU-R BT.601). */
const luma = [0.299, 0.587, 0.114];

/** u8 [B, h, w, c] -> f32 [B, channels, side, side] in 0..1: bicubic, not cropped; grey and colour are converted. */
export function toInput(pixels: Tensor, side: number, channels: number): Tensor {
  let x = mul(cast(pixels, 'f32'), 1 / 255);
  if (x.shape[3] === 3 && channels === 1) x = sum(mul(x, tensor(luma)), 3, { keepDims: true });
  x = permute(x, [0, 3, 1, 2]);
  if (x.shape[1] === 1 && channels === 3) x = broadcastTo(x, [x.shape[0]!, 3, ...x.shape.slice(2)]);
  return bicubicResize(x, [side, side]);
}
