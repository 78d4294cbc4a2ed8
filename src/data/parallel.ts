export interface ScanProgress {
  phase: 'scan' | 'decode';
  done: number;
  total: number;
}

export interface ScanOptions {
  onProgress?: (progress: ScanProgress) => void;
  /** Stops the work between two images; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Images that are decoded at a time: the threads of Node's pool. */
const width = 4;

/** Runs `work` for 0..size-1, a few at a time, in order of start. The first error stops it, after the running ones have ended. */
export async function forEachParallel(
  size: number,
  phase: ScanProgress['phase'],
  { onProgress, signal }: ScanOptions,
  work: (i: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let done = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    try {
      while (next < size && !failed) {
        signal?.throwIfAborted();
        await work(next++);
        onProgress?.({ phase, done: ++done, total: size });
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  signal?.throwIfAborted();
  const results = await Promise.allSettled(Array.from({ length: Math.min(width, size) }, worker));
  const broken = results.find((result) => result.status === 'rejected');
  if (broken) throw broken.reason;
}
