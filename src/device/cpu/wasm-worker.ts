/** A thread of the WebAssembly kernels: serves in the pool, or runs the programs that it is sent. */
import { parentPort, workerData } from 'node:worker_threads';
import { instantiate, type RunArguments, type WorkerData } from './wasm.ts';

const { module, memory, stack, scratch } = workerData as WorkerData;
const exports = instantiate(module, memory);
exports.__stack_pointer.value = stack;

function orAbandon<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    exports.thimble_abandon();
    throw error;
  }
}

if (scratch) orAbandon(() => exports.thimble_serve(scratch));
else parentPort!.on('message', (args: RunArguments) => parentPort!.postMessage(Number(orAbandon(() => exports.thimble_run(...args)))));
