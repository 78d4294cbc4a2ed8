/** The value that users hold: a shape, a dtype, and either numbers on a device or a place in a program being traced. */
import { type Device, type DeviceBuffer, defaultDevice } from './device.ts';
import { type DType, decode, encode, type TypedArray } from './dtype.ts';
import type { Value } from './graph.ts';
import { type Shape, ShapeError, show, sizeOf, type TensorType, typeOf } from './shape.ts';
import type { Trace } from './trace.ts';

/** Device memory with a count of the tensors that see it. Freed when the last one is disposed or collected. */
export class Storage {
  readonly device: Device;
  readonly buffer: DeviceBuffer;
  #references = 1;

  constructor(device: Device, buffer: DeviceBuffer) {
    this.device = device;
    this.buffer = buffer;
  }
  retain(): this {
    this.#references++;
    return this;
  }
  /** Whether more than one tensor sees it. */
  get shared(): boolean {
    return this.#references > 1;
  }
  release(): void {
    if (--this.#references === 0) this.device.free(this.buffer);
  }
}

const collected = new FinalizationRegistry<Storage>((storage) => storage.release());
const scopes: Set<Tensor>[] = [];
let scoped = true;

type Place = { storage: Storage } | { trace: Trace; value: Value } | { gone: string };

export class Tensor {
  readonly type: TensorType;
  #place: Place;

  private constructor(type: TensorType, place: Place) {
    this.type = type;
    this.#place = place;
    if ('storage' in place) {
      collected.register(this, place.storage, this);
      if (scoped) scopes.at(-1)?.add(this);
    }
  }

  /** A tensor over existing storage; takes over one reference to it. */
  static concrete(type: TensorType, storage: Storage): Tensor {
    return new Tensor(type, { storage });
  }
  static traced(trace: Trace, value: Value): Tensor {
    return new Tensor(value.type, { trace, value });
  }

  get shape(): Shape {
    return this.type.shape;
  }
  get dtype(): DType {
    return this.type.dtype;
  }
  get rank(): number {
    return this.type.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    return this.type.size;
  }
  /** Bytes of the elements as stored. */
  get bytes(): number {
    return this.type.bytes;
  }
  get isTraced(): boolean {
    return 'value' in this.#place;
  }

  /** The device memory; throws when there is none (any more). */
  get storage(): Storage {
    if ('storage' in this.#place) return this.#place.storage;
    if ('gone' in this.#place) throw new Error(`[tensor] ${this.type.key} was ${this.#place.gone}`);
    throw new Error(
      `[tensor] ${this.type.key} is being traced and has no numbers yet; return it from the compiled function and read it outside`,
    );
  }
  /** Its place in the program that `trace` builds; throws for a tensor of a trace that is over. */
  valueIn(trace: Trace): Value | undefined {
    if (!('value' in this.#place)) return undefined;
    const { trace: own, value } = this.#place;
    if (own !== trace)
      throw new Error(
        `[tensor] ${this.type.key} belongs to a program whose tracing has ended; return it from the compiled function instead of storing it in an outer variable`,
      );
    return value;
  }

  /** The elements in row-major order; i64 as numbers exact to 2^53. Blocks until they are there. */
  data(): ReturnType<typeof decode> {
    const { device, buffer } = this.storage;
    return decode(device.read(buffer, this.bytes), this.dtype);
  }
  /** The stored bytes. */
  rawData(): Uint8Array {
    const { device, buffer } = this.storage;
    return device.read(buffer, this.bytes);
  }
  /** The one element. */
  item(): number {
    if (this.size !== 1) throw new ShapeError(`[item] needs one element, ${show(this.shape)} has ${this.size}`);
    return this.data()[0]!;
  }
  /** Nested arrays of the tensor's shape (a number for rank 0). */
  toArray(): NestedNumbers {
    const data = this.data();
    let at = 0;
    const build = (axis: number): NestedNumbers =>
      axis === this.rank ? data[at++]! : Array.from({ length: this.shape[axis]! }, () => build(axis + 1));
    return build(0);
  }

  /** Frees the memory now. The tensor cannot be used afterwards. */
  dispose(): void {
    this.#leave('disposed; keep it alive or move the dispose() after its last use');
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** Gives the storage up to a compiled call that donated it; returns it with its reference. */
  donate(to: string): Storage {
    const { storage } = this;
    collected.unregister(this);
    this.#place = { gone: `donated to ${to}; use the tensor that it returned` };
    return storage;
  }
  #leave(why: string): void {
    if (!('storage' in this.#place)) return;
    const { storage } = this.#place;
    collected.unregister(this);
    this.#place = { gone: why };
    storage.release();
  }

  toString(): string {
    return `Tensor(${this.type.key}${this.isTraced ? ', traced' : ''})`;
  }
  /** For console.log. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
  /** `x > 0` and `x + 1` would be nonsense and go unnoticed. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return this.toString();
    throw new TypeError(
      `[tensor] ${this.type.key} is no JavaScript number; use functions such as add(x, 1) and greater(x, 0), or x.item()`,
    );
  }
}

export type NestedNumbers = number | NestedNumbers[];

function shapeOfNested(x: unknown): number[] {
  if (!Array.isArray(x)) return [];
  const inner = x.length ? shapeOfNested(x[0]) : [];
  for (const row of x)
    if (shapeOfNested(row).join() !== inner.join())
      throw new ShapeError(`[tensor] ragged nested arrays: ${show(inner)} beside ${show(shapeOfNested(row))}`);
  return [x.length, ...inner];
}

/** JavaScript would make NaN of the text of a table and of what is missing, and 0 of null. */
function checkNumbers(flat: ArrayLike<unknown>): void {
  for (let i = 0; i < flat.length; i++)
    if (typeof flat[i] !== 'number' && typeof flat[i] !== 'boolean' && typeof flat[i] !== 'bigint')
      throw new TypeError(`[tensor] element ${i} is ${JSON.stringify(flat[i])}, no number; convert it first`);
}

/** Typed arrays that hold a dtype's elements as a device does. */
const storedAs: { readonly [array: string]: DType | undefined } = {
  Float32Array: 'f32',
  Int32Array: 'i32',
  BigInt64Array: 'i64',
  Uint8Array: 'u8',
  Uint8ClampedArray: 'u8',
  Int8Array: 'i8',
};

/**
 * A tensor from numbers: a number, nested arrays, or a typed array with a shape. Copies.
 * @param options.dtype default: f32, also for other typed arrays (i32 for Int32Array, u8 for Uint8Array, i8 for Int8Array, i64 for BigInt64Array).
 */
export function tensor(
  values: NestedNumbers | TypedArray | Uint8ClampedArray | boolean,
  options: { shape?: Shape; dtype?: DType; device?: Device } = {},
): Tensor {
  const typed = ArrayBuffer.isView(values);
  if (!typed && !Array.isArray(values) && typeof values !== 'number' && typeof values !== 'boolean')
    throw new TypeError(`[tensor] ${values === null ? 'null' : typeof values} is no number, nested array or typed array`);
  const shape = options.shape ?? (typed ? [values.length] : shapeOfNested(values));
  const own = typed ? storedAs[values[Symbol.toStringTag]] : undefined;
  const natural: DType = own ?? (typeof values === 'boolean' ? 'bool' : 'f32');
  const type = typeOf(shape, options.dtype ?? natural);
  const flat = typed ? values : Array.isArray(values) ? ((values as unknown[]).flat(20 as 1) as number[]) : [Number(values)];
  if (!typed) checkNumbers(flat as ArrayLike<unknown>);
  if (flat.length !== type.size) throw new ShapeError(`[tensor] ${flat.length} numbers do not fill ${show(shape)} of ${sizeOf(shape)}`);
  const bytes =
    typed && own === type.dtype
      ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      : encode(flat as ArrayLike<number>, type.dtype);
  return fromBytes(bytes, type, options.device);
}

/** A tensor from stored bytes, as a checkpoint holds them. */
export function fromBytes(bytes: Uint8Array, type: TensorType, device: Device = defaultDevice()): Tensor {
  if (bytes.byteLength !== type.bytes) throw new ShapeError(`[tensor] ${type.key} takes ${type.bytes} bytes, got ${bytes.byteLength}`);
  if (device.upload) return Tensor.concrete(type, new Storage(device, device.upload(bytes)));
  const buffer = device.alloc(type.bytes);
  device.write(buffer, bytes);
  return Tensor.concrete(type, new Storage(device, buffer));
}

/** Uninitialised memory of a type: the argument of `plan` on the null device, or a buffer that a program will fill. */
export function empty(type: TensorType, device: Device = defaultDevice()): Tensor {
  return Tensor.concrete(type, new Storage(device, device.alloc(type.bytes)));
}

/**
 * `data()` of tensors of one device, as they are after what has been enqueued so far. The event loop stays free, and a device with a queue goes
 * on with what comes later. The tensors may be disposed meanwhile.
 */
export async function fetchData(tensors: readonly Tensor[]): Promise<ReturnType<typeof decode>[]> {
  const device = tensors[0]?.storage.device;
  if (!device?.fetch) return tensors.map((t) => t.data());
  const held = tensors.map((t) => t.storage.retain());
  try {
    const found = await device.fetch(tensors.map((t) => ({ buffer: t.storage.buffer, bytes: t.bytes })));
    return found.map((bytes, i) => decode(bytes, tensors[i]!.dtype));
  } finally {
    for (const s of held) s.release();
  }
}

/** Frees every tensor that `body` makes, except those in its result (a tensor, or anything `keep` lists). @throws TypeError for an asynchronous `body` */
export function scope<T>(body: () => T, keep: (result: T) => Iterable<Tensor> = tensorsIn): T {
  const mine = new Set<Tensor>();
  scopes.push(mine);
  try {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => {}); // the rest of it may fail, for want of its tensors
      throw new TypeError(
        '[scope] the function is asynchronous, and would go on without its tensors; await before the scope, or dispose of them one by one',
      );
    }
    for (const t of keep(result)) {
      mine.delete(t);
      scopes.at(-2)?.add(t);
    }
    return result;
  } finally {
    scopes.pop();
    for (const t of mine) t.dispose();
  }
}

/** Runs `body`, whose tensors belong to no scope: a traced function keeps the constants that it makes for its later calls. */
export function unscoped<T>(body: () => T): T {
  const before = scoped;
  scoped = false;
  try {
    return body();
  } finally {
    scoped = before;
  }
}

function* tensorsIn(x: unknown): Iterable<Tensor> {
  if (x instanceof Tensor) yield x;
  else if (x && typeof x === 'object' && !ArrayBuffer.isView(x)) for (const v of Object.values(x)) yield* tensorsIn(v);
}
