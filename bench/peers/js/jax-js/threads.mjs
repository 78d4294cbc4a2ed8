/** Gives Node the browser's `Worker` for blob URLs, which jax-js needs for its thread pool. */
import { resolveObjectURL } from 'node:buffer';
import { Worker as NodeWorker } from 'node:worker_threads';
import { option } from '../reference.mjs';

const PRELUDE = `
const { parentPort } = require('node:worker_threads');
globalThis.self = globalThis;
globalThis.postMessage = (message) => parentPort.postMessage(message);
parentPort.on('message', (data) => globalThis.onmessage({ data }));
`;

class BlobWorker {
  #queue = [];
  #worker;

  constructor(url) {
    resolveObjectURL(url)
      .text()
      .then((source) => {
        this.#worker = new NodeWorker(PRELUDE + source, { eval: true });
        this.#worker.on('message', (data) => this.onmessage?.({ data }));
        this.#worker.on('error', (error) => this.onerror?.(error));
        for (const message of this.#queue) this.#worker.postMessage(message);
      });
  }

  postMessage(message) {
    if (this.#worker) this.#worker.postMessage(message);
    else this.#queue.push(message);
  }
}

// Imported before jax-js, which looks for workers while it is loaded.
const count = option('threads', 1);
if (count > 1) {
  globalThis.Worker = BlobWorker;
  Object.defineProperty(globalThis, 'navigator', { value: { hardwareConcurrency: count }, configurable: true });
}
