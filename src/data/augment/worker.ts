/** A thread of `Augmenter`. */
import { parentPort } from 'node:worker_threads';
import { type AugmentJob, augmentImages } from './images.ts';

const port = parentPort!;
port.on('message', (job: AugmentJob) => {
  try {
    const pixels = augmentImages(job) as Uint8Array<ArrayBuffer>;
    port.postMessage({ pixels }, [pixels.buffer]);
  } catch (error) {
    port.postMessage({ error });
  }
});
