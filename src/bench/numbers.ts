/** Numbers defined by an integer hash (bench/peers/README.md), so that every engine starts from the same ones. */
import { type Tensor, tensor } from '../tensor/index.ts';

export const PARAMETERS = 0;
export const IDS = 1;
export const TARGETS = 2;
export const INPUTS = 3;
const CHAINS = 4;

function hash(stream: number, index: number): number {
  let x = (Math.imul(stream, 0x9e3779b9) + index) >>> 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d) >>> 0;
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

export function normals(stream: number, from: number, shape: readonly number[], log2Scale: number): Tensor {
  const out = new Float32Array(shape.reduce((n, d) => n * d, 1));
  const scale = 2 ** log2Scale;
  for (let i = 0; i < out.length; i++) {
    const h = hash(stream, from + i);
    out[i] = ((h & 255) + ((h >>> 8) & 255) + ((h >>> 16) & 255) + (h >>> 24) - 510) * scale;
  }
  return tensor(out, { shape });
}

export function integers(stream: number, shape: readonly number[], below: number): Tensor {
  return tensor(
    Int32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => hash(stream, i) % below),
    { shape },
  );
}

/** Token chains `first`, `first` + 1, ...: ids i32 [rows, T] and the ids that follow them. */
export function chains(first: number, rows: number, T: number, vocabulary: number): { ids: Tensor; next: Tensor } {
  const states = Math.min(1024, vocabulary);
  const scale = Math.floor(vocabulary / states);
  const ids = new Int32Array(rows * T);
  const next = new Int32Array(rows * T);
  for (let r = 0; r < rows; r++) {
    const start = (first + r) * (T + 1);
    let s = hash(IDS, start) % states;
    for (let t = 0; t < T; t++) {
      ids[r * T + t] = s * scale;
      s = hash(CHAINS, 4 * s + (hash(IDS, start + t + 1) % 4)) % states;
      next[r * T + t] = s * scale;
    }
  }
  return { ids: tensor(ids, { shape: [rows, T] }), next: tensor(next, { shape: [rows, T] }) };
}

/** Hands out parameters in the order of the flat list. */
export class Parameters {
  #at = 0;
  weight(shape: readonly number[], log2Scale = -13): Tensor {
    const t = normals(PARAMETERS, this.#at, shape, log2Scale);
    this.#at += t.size;
    return t;
  }
  fill(value: number, ...shape: number[]): Tensor {
    const t = tensor(new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(value), { shape });
    this.#at += t.size;
    return t;
  }
}
