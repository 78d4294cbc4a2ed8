/**
 * The reference device: every kernel as the plainest loop in float64. Slow, and exact enough for finite differences; the other
 * devices are tested against it. It has no fused kernels, so fused ops run as what they mean.
 */
import type { Device, DeviceBuffer, Executable } from '../../tensor/device.ts';
import { type DType, decode, encode } from '../../tensor/dtype.ts';
import type { AnyCall, Program, View } from '../../tensor/lower/program.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { firstNonFinite } from '../check.ts';
import { evaluate } from './expression.ts';
import { type At, kernels } from './kernels.ts';

class ReferenceBuffer implements DeviceBuffer {
  readonly address = 0;
  readonly bytes: number;
  /** Bytes as written, until a program or a reader says what they are. */
  raw: Uint8Array;
  values: Float64Array | undefined;
  dtype: DType | undefined;

  constructor(bytes: number) {
    this.bytes = bytes;
    this.raw = new Uint8Array(bytes);
  }
  as(dtype: DType): Float64Array {
    if (this.values && this.dtype !== dtype) {
      // a result of another type has taken the memory over
      this.raw = encode(this.values, this.dtype!);
      this.values = undefined;
    }
    if (!this.values) {
      this.values = Float64Array.from(decode(this.raw, dtype));
      this.dtype = dtype;
    }
    return this.values;
  }
}

export class ReferenceDevice implements Device {
  readonly name: string = 'reference';
  readonly holdsData = true;
  #allocated = 0;

  fused(): boolean {
    return false;
  }
  epilogue(): boolean {
    return true;
  }
  get allocatedBytes(): number {
    return this.#allocated;
  }
  alloc(bytes: number): ReferenceBuffer {
    this.#allocated += bytes;
    return new ReferenceBuffer(bytes);
  }
  free(buffer: DeviceBuffer): void {
    this.#allocated -= buffer.bytes;
  }
  write(buffer: DeviceBuffer, data: Uint8Array): void {
    const b = buffer as ReferenceBuffer;
    b.raw.set(data);
    b.values = undefined;
  }
  read(buffer: DeviceBuffer, bytes: number): Uint8Array {
    const b = buffer as ReferenceBuffer;
    return (b.values ? encode(b.values, b.dtype!) : b.raw).slice(0, bytes);
  }
  /** The float64 values behind a tensor: reads see what is stored here, without rounding. */
  values(t: Tensor): Float64Array {
    return (t.storage.buffer as ReferenceBuffer).as(t.dtype);
  }

  prepare(program: Program): Executable {
    const bind = (externals: readonly DeviceBuffer[]): ((v: View) => Float64Array) => {
      const own = new Map<number, Float64Array>();
      return (v) => {
        const spec = program.buffers[v.buffer]!;
        if (spec.external >= 0) return (externals[spec.external] as ReferenceBuffer).as(v.dtype);
        let values = own.get(v.buffer);
        if (!values) own.set(v.buffer, (values = new Float64Array(Math.max(1, spec.bytes))));
        return values;
      };
    };
    const run = (externals: readonly DeviceBuffer[]): void => {
      const memory = bind(externals);
      for (const call of program.calls) execute(call, memory);
    };
    return {
      run,
      runAsync: async (externals) => run(externals),
      findNonFinite(externals) {
        const memory = bind(externals);
        return firstNonFinite(
          program,
          (i) => execute(program.calls[i]!, memory),
          (v) => encode(memory(v), v.dtype),
        );
      },
    };
  }
}

/** Reads or writes element `flat` (row-major in the view's own shape). */
function accessor(v: View, memory: Float64Array): At {
  const { shape, strides, offset } = v;
  const place = (flat: number): number => {
    let at = offset;
    let rest = flat;
    for (let i = shape.length - 1; i >= 0; i--) {
      at += (rest % shape[i]!) * strides[i]!;
      rest = Math.floor(rest / shape[i]!);
    }
    return at;
  };
  return {
    size: sizeOf(shape),
    get: (i) => memory[place(i)]!,
    set: (i, x) => {
      memory[place(i)] = store(x, v.dtype);
    },
  };
}

/** Integers wrap as their storage does; floats keep their float64 value. */
function store(x: number, dtype: DType): number {
  switch (dtype) {
    case 'u8':
      return x & 255;
    case 'i8':
      return (x << 24) >> 24;
    case 'bool':
      return x ? 1 : 0;
    case 'i32':
      return x | 0;
    default:
      return x;
  }
}

function execute(call: AnyCall, memory: (v: View) => Float64Array): void {
  const reads = call.reads.map((v) => accessor(v, memory(v)));
  const writes = call.writes.map((v) => accessor(v, memory(v)));
  if (call.kernel === 'map') {
    const n = sizeOf(call.attrs.dims);
    // results may lie over operands: all of an element is read before any of it is written
    for (let i = 0; i < n; i++) {
      const out = evaluate(call.attrs.expression, (k) => reads[k]!.get(i), i);
      out.forEach((x, k) => {
        writes[k]!.set(i, x);
      });
    }
    return;
  }
  const kernel = kernels[call.kernel];
  if (!kernel) throw new Error(`[reference] has no ${call.kernel} kernel: fused ops run as their references here`);
  (kernel as (c: AnyCall, r: At[], w: At[]) => void)(call, reads, writes);
}
