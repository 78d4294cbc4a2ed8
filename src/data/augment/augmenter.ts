/** Augmentation beside the training step: batches go to worker threads and come back, the same for any number of them. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { imageBytes } from '../image-set.ts';
import { type AugmentJob, augmentImages } from './images.ts';

type Answer = { pixels: Uint8Array; error?: never } | { pixels?: never; error: unknown };

/** A worker answers in the order it was asked. */
interface Thread {
  worker: Worker;
  asked: { resolve: (pixels: Uint8Array) => void; reject: (error: unknown) => void }[];
}

/** Worker threads that the machine has cores for, beside this thread and the device: none on two cores, at most 8. */
export const spareThreads = (): number => Math.min(8, Math.max(0, availableParallelism() - 2));

export class Augmenter implements AsyncDisposable {
  readonly #threads: Thread[];

  /** @param threads 0: everything is done on the calling thread */
  constructor(threads = spareThreads()) {
    this.#threads = Array.from({ length: threads }, () => startThread());
  }

  /** Jobs that run at a time: how many batches to ask for ahead. */
  get width(): number {
    return Math.max(1, this.#threads.length);
  }

  /**
   * The augmented pixels [n, h, w, c]. The buffer of `job.pixels` is taken.
   *
   * @throws RangeError as `augmentImages`, and for pixels that are not [n, h, w, c], such as those that were taken before; what ended a worker
   */
  async run(job: AugmentJob): Promise<Uint8Array> {
    const bytes = job.indices.length * imageBytes(job.shape);
    // a thread would never see a job whose buffer is gone, and never answer
    if (job.pixels.length !== bytes) throw new RangeError(`[augment] the images have ${bytes} bytes, not ${job.pixels.length}`);
    if (this.#threads.length === 0) return augmentImages(job);
    const { worker, asked } = this.#threads.reduce((idlest, one) => (one.asked.length < idlest.asked.length ? one : idlest));
    return new Promise((resolve, reject) => {
      worker.postMessage(job, [job.pixels.buffer as ArrayBuffer]); // may throw: what was not sent has no answer
      asked.push({ resolve, reject });
      worker.ref();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.splice(0).map(({ worker }) => worker.terminate()));
  }
}

function startThread(): Thread {
  const worker = new Worker(new URL('./worker.js', import.meta.url));
  const asked: Thread['asked'] = [];
  const fail = (error: unknown): void => {
    for (const { reject } of asked.splice(0)) reject(error);
  };
  worker.on('message', ({ pixels, error }: Answer) => {
    const { resolve, reject } = asked.shift()!;
    if (asked.length === 0) worker.unref(); // an idle thread does not keep the process
    if (pixels) resolve(pixels);
    else reject(error);
  });
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`[augment] a worker thread ended with code ${code}`)));
  worker.unref();
  return { worker, asked };
}
