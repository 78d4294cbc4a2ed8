/** Pictures of what tokens still show. */
import { type ImageSet, readBatch } from '../../../data/index.ts';
import {
  add,
  bicubicResize,
  broadcastTo,
  cast,
  clamp,
  compile,
  floor,
  mean,
  mul,
  permute,
  type Tensor,
  tensor,
} from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { imageSide } from './config.ts';
import { imagesAtOnce, toInput } from './pixels.ts';
import type { Tokenizer } from './tokenizer.ts';
import { readTokenizer } from './tokenizer-file.ts';

/** Pixels [images.size, height, width, channels] after encoder, codebook and decoder. */
export async function reconstructImages(images: ImageSet, path: string, run: Run): Promise<Uint8Array> {
  const {
    tokenizer,
    settings: { config, channels: stored },
  } = await readTokenizer(path);
  const [height, width, channels] = images.shape;
  const program = compile(
    (model: Tokenizer, pixels: Tensor) => {
      const codes = model.tokenize(toInput(pixels, imageSide(config), stored));
      const drawn = bicubicResize(model.decode(model.vectors(codes)), [height, width]);
      const coloured =
        stored > channels ? mean(drawn, 1, { keepDims: true }) : broadcastTo(drawn, [drawn.shape[0]!, channels, height, width]);
      return cast(floor(add(mul(clamp(permute(coloured, [0, 2, 3, 1]), 0, 1), 255), 0.5)), 'i32');
    },
    { name: 'reconstruct' },
  );
  const most = imagesAtOnce(images.shape);
  const out = new Uint8Array(images.size * height * width * channels);
  for (let at = 0; at < images.size; at += most) {
    run.signal?.throwIfAborted();
    const indices = Int32Array.from({ length: Math.min(most, images.size - at) }, (_, i) => at + i);
    using pixels = tensor((await readBatch(images, indices, run.signal)).pixels, { shape: [indices.length, ...images.shape] });
    using drawn = await program.async(tokenizer, pixels);
    out.set(drawn.data() as Int32Array, at * height * width * channels);
  }
  return out;
}
