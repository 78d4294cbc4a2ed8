/** Copies of trees of tensors: in host memory, to go back to, or on their device. */
import { type Device, type DType, defaultDevice, empty, fromBytes, leaves, mapTree, type Tensor } from '../tensor/index.ts';
import { named } from './tree-file.ts';

/** The numbers of a tree in host memory; takes as many bytes as the tree. */
export class Snapshot<S> {
  readonly #tree: S;
  readonly #bytes: Uint8Array[];
  readonly #device: Device;

  constructor(tree: S) {
    this.#tree = tree;
    this.#bytes = leaves(tree).map((t) => t.rawData());
    this.#device = deviceOf(tree);
  }
  /** A new tree on the device, with the numbers of then. */
  restore(): S {
    let i = 0;
    return mapTree(this.#tree, (t) => fromBytes(this.#bytes[i++]!, t.type, this.#device));
  }
}

/**
 * A tree with the same numbers in memory of its own. A model and its moving average must not share tensors where a step donates them:
 * `{ model, average: copyTree(model) }`.
 */
export function copyTree<S>(tree: S): S {
  return mapTree(tree, (t) => {
    const { device } = t.storage;
    return device.holdsData ? fromBytes(t.rawData(), t.type, device) : empty(t.type, device);
  });
}

export function deviceOf(tree: unknown): Device {
  return leaves(tree)[0]?.storage.device ?? defaultDevice();
}

/** Names of the float tensors that hold a NaN or an infinity. */
export function nonFiniteTensors(tree: unknown): string[] {
  return [...named(tree)].flatMap(([name, t]) => (holdsNonFinite(t) ? [name] : []));
}

/** Exponent bits, all set in NaNs and infinities. */
const exponents: Partial<Record<DType, number>> = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 };

function holdsNonFinite(t: Tensor): boolean {
  const mask = exponents[t.dtype];
  if (mask === undefined) return false;
  const raw = t.rawData();
  const words =
    t.dtype === 'f32' ? new Uint32Array(raw.buffer, raw.byteOffset, t.size) : new Uint16Array(raw.buffer, raw.byteOffset, t.size);
  for (let i = 0; i < words.length; i++) if ((words[i]! & mask) === mask) return true;
  return false;
}
