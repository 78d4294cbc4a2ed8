/** How a thread reaches the elements of views: coordinates, offsets, and several neighbours in one access where memory allows it. */
import { itemSize } from '../../tensor/dtype.ts';
import type { View } from '../../tensor/lower/program.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { storageType } from './codegen.ts';

/** Element offset of a view at coordinates c0, c1, ...; 32-bit where every offset fits. */
export function offsetOf(v: View): string {
  const reach = v.strides.reduce((n, s, i) => n + Math.abs(s) * (v.shape[i]! - 1), 0);
  const factor = v.strides.every((s) => s >= 0) && reach < 2 ** 31 ? (s: number) => `${s}u` : (s: number) => `(long long)${s}`;
  return (
    v.strides
      .map((s, i) => (s === 0 ? '' : s === 1 ? `c${i}` : `c${i} * ${factor(s)}`))
      .filter(Boolean)
      .join(' + ') || '0'
  );
}

export const indexType = (n: number): string => (n < 2 ** 32 ? 'u32' : 'u64');

/** Declares the coordinates of element `flat` of a space. */
export function coordinates(dims: readonly number[], flat: string): string {
  const index = indexType(sizeOf(dims));
  if (dims.length === 1) return `${index} c0 = ${flat};`;
  const lines = [`${index} rest = ${flat};`];
  for (let i = dims.length - 1; i > 0; i--) lines.push(`${index} c${i} = rest % ${dims[i]}u; rest /= ${dims[i]}u;`);
  lines.push(`${index} c0 = rest;`);
  return lines.join(' ');
}

export const pointers = (views: readonly View[], kind: string): string[] => views.map((v, i) => `${storageType[v.dtype]} *${kind}${i}`);

/** Bytes, at most 16, by which every run of neighbours on the last axis that starts at a multiple of `width` is aligned. */
export function alignment(v: View, width: number): number {
  const size = itemSize[v.dtype];
  let bytes = 16;
  for (const n of [width, v.offset, ...v.strides.slice(0, -1)]) while ((n * size) % bytes) bytes /= 2;
  return bytes;
}

/** What a thread moves together: `width` neighbours on the last axis of each operand, read as one pack, its own number or one number for all. */
export class Packs {
  readonly #views: readonly View[];
  readonly width: number;
  constructor(views: readonly View[], width: number) {
    this.#views = views;
    this.width = width;
  }
  type(i: number): string {
    const v = this.#views[i]!;
    if (v.strides.at(-1) === 0) return storageType[v.dtype];
    return `pack<${storageType[v.dtype]}, ${this.width}, ${alignment(v, this.width)}>`;
  }
  /** An expression that reads operand `i` from its pointer `from`, at the coordinates in scope. */
  read(i: number, from: string): string {
    const v = this.#views[i]!;
    const step = v.strides.at(-1)!;
    if (step === 0 || this.width === 1) return `${step === 0 ? '' : '{'}${from}[${offsetOf(v)}]${step === 0 ? '' : '}'}`;
    if (step === 1) return `*(const ${this.type(i)} *)(${from} + (${offsetOf(v)}))`;
    const at = (k: number): string => `${from}[${offsetOf(v)} + (long long)${k * step}]`;
    return `{${Array.from({ length: this.width }, (_, k) => at(k)).join(', ')}}`;
  }
  /** Neighbour k of what was read as `name`. */
  element(i: number, name: string): string {
    return this.#views[i]!.strides.at(-1) === 0 ? `load(${name})` : `element(${name}, k)`;
  }
}

/** Bytes of operands that a thread may hold in registers at once. */
const HELD = 192;

/**
 * How many neighbours on the last axis a thread computes together: as many of the narrowest operand as fill 16 bytes, where the axis and
 * the registers allow it. A space of one axis may have a rest.
 */
export function packWidth(dims: readonly number[], views: readonly View[]): number {
  const walked = views.filter((v) => v.strides.at(-1) !== 0);
  const bytes = walked.reduce((n, v) => n + itemSize[v.dtype], 0);
  const rest = dims.length === 1 && dims[0]! >= 1024;
  let width = walked.length ? 16 / Math.min(...walked.map((v) => itemSize[v.dtype])) : 1;
  while (width > 1 && ((!rest && dims.at(-1)! % width) || width * bytes > HELD)) width /= 2;
  return walked.some((v) => Math.abs(v.strides.at(-1)!) !== 1) ? Math.min(width, 4) : width;
}
