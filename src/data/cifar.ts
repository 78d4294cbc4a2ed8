import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeImage } from '../io/images.ts';
import { PackedImages } from './packed.ts';
import type { ScanOptions } from './parallel.ts';

export interface CifarOptions extends ScanOptions {
  split?: 'train' | 'test';
  /** Only the first images; they are in random order. */
  limit?: number;
}

const side = 32;
const perRow = 50;
const perSheet = perRow * perRow;

/** CIFAR-10 (Krizhevsky 2009) as sheets `train-00.webp` of 50 x 50 images, row-major, with `train-labels.u8` and `classes.txt`; into memory. */
export async function openCifarSheets(
  folder: string,
  { split = 'train', limit, signal, onProgress }: CifarOptions = {},
): Promise<PackedImages> {
  const classes = (await readFile(join(folder, 'classes.txt'), 'utf8')).trim().split(/\s+/);
  const labels = (await readFile(join(folder, `${split}-labels.u8`))).subarray(0, limit);
  const pixels = new Uint8Array(labels.length * side * side * 3);
  for (let first = 0; first < labels.length; first += perSheet) {
    signal?.throwIfAborted();
    const path = join(folder, `${split}-${String(first / perSheet).padStart(2, '0')}.webp`);
    const sheet = await decodeImage(path, { channels: 3 });
    const count = Math.min(perSheet, labels.length - first);
    if (sheet.width !== perRow * side || sheet.height < Math.ceil(count / perRow) * side) {
      throw new Error(`[cifar] ${path} is ${sheet.height} x ${sheet.width}, expected ${perRow * side} x ${perRow * side}`);
    }
    cut(sheet.pixels, count, pixels.subarray(first * side * side * 3));
    onProgress?.({ phase: 'decode', done: first + count, total: labels.length });
  }
  return new PackedImages({ pixels, labels, shape: [side, side, 3], classes, source: `${folder} (${split})` });
}

function cut(sheet: Uint8Array, count: number, into: Uint8Array): void {
  const line = side * 3;
  for (let i = 0; i < count; i++) {
    const corner = (Math.floor(i / perRow) * side * perRow + (i % perRow)) * line;
    for (let y = 0; y < side; y++) {
      const from = corner + y * perRow * line;
      into.set(sheet.subarray(from, from + line), (i * side + y) * line);
    }
  }
}
