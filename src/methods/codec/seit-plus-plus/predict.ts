/** Classes of new images, from pixels. */
import { type ImageSet, readBatch } from '../../../data/index.ts';
import { argmax, type Compiled, compile, type Tensor, tensor } from '../../../tensor/index.ts';
import type { Run } from '../../contracts/run.ts';
import { type Classifier, type ClassifierSettings, readClassifier } from './classifier.ts';
import { imagesAtOnce } from './pixels.ts';

/** Compiled (classifier, pixels u8 [B, h, w, c]) -> the likeliest class i32 [B]. */
export const predictor = (settings: ClassifierSettings): Compiled<[Classifier, Tensor], Tensor> =>
  compile((model: Classifier, pixels: Tensor) => argmax(model.logits(pixels, settings)), { name: 'predict' });

/** The likeliest class of every image of `images` by the model file `path`. */
export async function predictClasses(images: ImageSet, path: string, run: Run): Promise<Uint16Array> {
  run.signal?.throwIfAborted();
  const { classifier, settings } = await readClassifier(path);
  const program = predictor(settings);
  const out = new Uint16Array(images.size);
  const most = imagesAtOnce(images.shape);
  for (let at = 0; at < images.size; at += most) {
    run.signal?.throwIfAborted();
    const count = Math.min(most, images.size - at);
    const batch = await readBatch(
      images,
      Int32Array.from({ length: count }, (_, i) => at + i),
      run.signal,
    );
    using pixels = tensor(batch.pixels, { shape: [count, ...images.shape] });
    if (at === 0) run.onPlan?.('predict', program.plan(classifier, pixels).peakBytes);
    using labels = await program.async(classifier, pixels);
    out.set(labels.data() as Int32Array, at);
    run.onProgress?.('predict', at + count, images.size);
  }
  return out;
}
