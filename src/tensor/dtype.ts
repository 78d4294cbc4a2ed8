/** Element types. Arithmetic on bf16 and f16 happens in f32; they are storage types. */
export const dtypes = ['f32', 'bf16', 'f16', 'i32', 'i64', 'u8', 'i8', 'bool'] as const;
export type DType = (typeof dtypes)[number];

/** Bytes of one element. */
export const itemSize: Record<DType, number> = { f32: 4, bf16: 2, f16: 2, i32: 4, i64: 8, u8: 1, i8: 1, bool: 1 };

/** The distance from 1 to the next number of a float type; 0 for integers. */
export const machineEpsilon: Record<DType, number> = { f32: 2 ** -23, bf16: 2 ** -7, f16: 2 ** -10, i32: 0, i64: 0, u8: 0, i8: 0, bool: 0 };

/** The type a value is computed in: what a register holds after a load. */
export type Lane = 'f32' | 'i32' | 'i64';
export const laneOf: Record<DType, Lane> = {
  f32: 'f32',
  bf16: 'f32',
  f16: 'f32',
  i32: 'i32',
  i64: 'i64',
  u8: 'i32',
  i8: 'i32',
  bool: 'i32',
};

export const isFloat = (dtype: DType): boolean => laneOf[dtype] === 'f32';

const rank: Record<DType, number> = { bool: 0, u8: 1, i8: 1, i32: 2, i64: 3, f16: 4, bf16: 4, f32: 5 };

/** The type in which two operands meet: the wider one; u8 with i8 is i32, f16 with bf16 is f32. */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  if (rank[a] === rank[b]) return isFloat(a) ? 'f32' : 'i32';
  return rank[a] > rank[b] ? a : b;
}

/** One f32 as bf16 bits, rounded to nearest even; NaN stays NaN. */
export function toBf16(x: number): number {
  f32[0] = x;
  const bits = u32[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

export function fromBf16(bits: number): number {
  u32[0] = bits << 16;
  return f32[0]!;
}

/** One f32 as IEEE half bits, rounded to nearest even, with subnormals and infinities. */
export function toF16(x: number): number {
  f32[0] = x;
  const bits = u32[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to infinity
  if (magnitude < 0x38800000) {
    // subnormal: the value in units of 2^-24, rounded to even by the addition of 0.5 * 2^24's ulp
    f32[0] = Math.abs(x) + 0.5;
    return sign | (u32[0]! - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** The typed array that JavaScript offers for a dtype's raw storage (bf16 and f16 as their bits). */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array;

/** Numbers -> the bytes that a device stores. */
export function encode(values: ArrayLike<number | bigint | boolean>, dtype: DType): Uint8Array {
  const n = values.length;
  const bytes = new Uint8Array(n * itemSize[dtype]);
  const put = (array: { [i: number]: number }, f: (x: number) => number = (x) => x): void => {
    for (let i = 0; i < n; i++) array[i] = f(Number(values[i]));
  };
  switch (dtype) {
    case 'f32':
      put(new Float32Array(bytes.buffer));
      break;
    case 'bf16':
      put(new Uint16Array(bytes.buffer), toBf16);
      break;
    case 'f16':
      put(new Uint16Array(bytes.buffer), toF16);
      break;
    case 'i32':
      put(new Int32Array(bytes.buffer));
      break;
    case 'i8':
      put(new Int8Array(bytes.buffer));
      break;
    case 'u8':
      put(bytes);
      break;
    case 'bool':
      put(bytes, (x) => (x ? 1 : 0));
      break;
    case 'i64': {
      const array = new BigInt64Array(bytes.buffer);
      for (let i = 0; i < n; i++) {
        const x = values[i]!;
        array[i] = typeof x === 'bigint' ? x : BigInt(Math.trunc(Number(x)));
      }
    }
  }
  return bytes;
}

/** A number as memory of an integer type would hold it; of floats as it is: in a kernel they are f32. */
export const asKept = (value: number, dtype: DType): number => (isFloat(dtype) ? value : Number(decode(encode([value], dtype), dtype)[0]));

/** Stored bytes -> numbers; floats as Float32Array, small integers as their own arrays, i64 as Float64Array (exact to 2^53). */
export function decode(bytes: Uint8Array, dtype: DType): Float32Array | Float64Array | Int32Array | Uint8Array | Int8Array {
  const b = bytes.byteOffset % itemSize[dtype] === 0 ? bytes : bytes.slice();
  const n = b.byteLength / itemSize[dtype];
  switch (dtype) {
    case 'f32':
      return new Float32Array(b.buffer, b.byteOffset, n);
    case 'bf16':
      return Float32Array.from(new Uint16Array(b.buffer, b.byteOffset, n), fromBf16);
    case 'f16':
      return Float32Array.from(new Uint16Array(b.buffer, b.byteOffset, n), fromF16);
    case 'i32':
      return new Int32Array(b.buffer, b.byteOffset, n);
    case 'i64':
      return Float64Array.from(new BigInt64Array(b.buffer, b.byteOffset, n), Number);
    case 'i8':
      return new Int8Array(b.buffer, b.byteOffset, n);
    default:
      return b;
  }
}
