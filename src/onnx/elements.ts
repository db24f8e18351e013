import { UserError } from '../util/errors.ts';
import { aligned, type Scratch } from './aligned.ts';
import { byteSize, DataType, dataTypeName, isInteger } from './data-type.ts';
import { fromBfloat, fromHalf, toBfloat, toHalf } from './half.ts';
import { bytesOf, type OnnxTensor, tensorError, withData } from './tensor.ts';
import { text, walk } from './wire.ts';

/** Arrays whose element type says the tensor's. */
export type ElementArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const typeError = (tensor: OnnxTensor, wanted: string) =>
  new UserError('E_TENSOR_TYPE', `Tensor '${tensor.name}' is ${dataTypeName(tensor.dataType)}, not ${wanted}.`, {
    where: tensor.name,
  });

const float32View = (bytes: Uint8Array) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const uint16View = (bytes: Uint8Array) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);

/**
 * FLOAT, FLOAT16, BFLOAT16 and DOUBLE elements as float32. Where possible a view of the file: do not write to it.
 * @param reused where a copy may be made of what cannot be viewed: it is good until this is used again
 * @throws UserError E_TENSOR_TYPE for other types, and what `bytesOf` throws
 */
export function floats(tensor: OnnxTensor, reused?: Scratch): Float32Array {
  switch (tensor.dataType) {
    case DataType.FLOAT:
      return float32View(aligned(bytesOf(tensor), 4, reused));
    case DataType.FLOAT16:
      return Float32Array.from(uint16View(aligned(bytesOf(tensor), 2, reused)), fromHalf);
    case DataType.BFLOAT16:
      return Float32Array.from(uint16View(aligned(bytesOf(tensor), 2, reused)), fromBfloat);
    case DataType.DOUBLE: {
      const bytes = aligned(bytesOf(tensor), 8, reused);
      return Float32Array.from(new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8));
    }
    default:
      throw typeError(tensor, 'a type of real numbers');
  }
}

/** A 64-bit integer as a number; the extremes that stand for "to the end" become the safe extremes. */
function safe(value: bigint): number | null {
  if (value >= -(2n ** 53n) + 1n && value <= 2n ** 53n - 1n) return Number(value);
  if (value >= 2n ** 62n) return Number.MAX_SAFE_INTEGER;
  return value <= -(2n ** 62n) ? Number.MIN_SAFE_INTEGER : null;
}

/**
 * Elements of an integer type or bool as numbers. From 2^62 on, which exporters write for "to the end" (the last int64
 * in a Slice), the safe extreme of that sign is returned.
 * @throws UserError E_TENSOR_TYPE for other types, E_TENSOR_DATA between 2^53 and 2^62, and what `bytesOf` throws
 */
export function ints(tensor: OnnxTensor): number[] {
  const type = tensor.dataType;
  if (!isInteger(type)) throw typeError(tensor, 'an integer type of whole bytes');
  const bytes = bytesOf(tensor);
  const size = byteSize(type) as number;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = (at: number): number => {
    switch (type) {
      case DataType.INT8:
        return view.getInt8(at);
      case DataType.UINT8:
        return view.getUint8(at);
      case DataType.BOOL:
        return view.getUint8(at) ? 1 : 0;
      case DataType.INT16:
        return view.getInt16(at, true);
      case DataType.UINT16:
        return view.getUint16(at, true);
      case DataType.INT32:
        return view.getInt32(at, true);
      case DataType.UINT32:
        return view.getUint32(at, true);
      default: {
        const value = type === DataType.INT64 ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
        const number = safe(value);
        if (number === null) throw tensorError(tensor, `holds ${value}, which no number represents exactly`, '');
        return number;
      }
    }
  };
  return Array.from({ length: bytes.byteLength / size }, (_, i) => read(i * size));
}

/** Elements of a STRING tensor. @throws UserError E_TENSOR_TYPE for other types */
export function strings(tensor: OnnxTensor): string[] {
  if (tensor.dataType !== DataType.STRING || tensor.data.storage !== 'typed') throw typeError(tensor, 'STRING');
  return tensor.data.fields
    .flatMap(encoded => walk(encoded, { base: encoded.byteOffset }))
    .filter(field => field.number === 6)
    .map(text);
}

const arrayTypes: readonly (readonly [{ new (n: number): ElementArray }, number])[] = [
  [Float32Array, DataType.FLOAT],
  [Float64Array, DataType.DOUBLE],
  [Int8Array, DataType.INT8],
  [Uint8Array, DataType.UINT8],
  [Int16Array, DataType.INT16],
  [Uint16Array, DataType.UINT16],
  [Int32Array, DataType.INT32],
  [Uint32Array, DataType.UINT32],
  [BigInt64Array, DataType.INT64],
  [BigUint64Array, DataType.UINT64],
];

/** Numbers as the little-endian elements of a type, rounded where the type is coarser. */
function encode(name: string, values: ArrayLike<number>, dataType: number): Uint8Array {
  const size = byteSize(dataType);
  const bytes = new Uint8Array(values.length * (size ?? 1));
  const view = new DataView(bytes.buffer);
  const put = writers.get(dataType);
  if (size === null || !put) {
    throw new UserError('E_TENSOR_TYPE', `Numbers cannot be stored as ${dataTypeName(dataType)} ('${name}').`, {
      where: name,
    });
  }
  for (let i = 0; i < values.length; i++) put(view, i * size, values[i]);
  return bytes;
}

const wide = (value: number): bigint =>
  value >= Number.MAX_SAFE_INTEGER ? 2n ** 63n - 1n : value <= Number.MIN_SAFE_INTEGER ? -(2n ** 63n) : BigInt(value);

const writers: ReadonlyMap<number, (view: DataView, at: number, value: number) => void> = new Map([
  [DataType.FLOAT as number, (view: DataView, at: number, value: number) => view.setFloat32(at, value, true)],
  [DataType.DOUBLE, (view, at, value) => view.setFloat64(at, value, true)],
  [DataType.FLOAT16, (view, at, value) => view.setUint16(at, toHalf(value), true)],
  [DataType.BFLOAT16, (view, at, value) => view.setUint16(at, toBfloat(value), true)],
  [DataType.INT8, (view, at, value) => view.setInt8(at, value)],
  [DataType.UINT8, (view, at, value) => view.setUint8(at, value)],
  [DataType.BOOL, (view, at, value) => view.setUint8(at, value ? 1 : 0)],
  [DataType.INT16, (view, at, value) => view.setInt16(at, value, true)],
  [DataType.UINT16, (view, at, value) => view.setUint16(at, value, true)],
  [DataType.INT32, (view, at, value) => view.setInt32(at, value, true)],
  [DataType.UINT32, (view, at, value) => view.setUint32(at, value, true)],
  [DataType.INT64, (view, at, value) => view.setBigInt64(at, wide(value), true)],
  [DataType.UINT64, (view, at, value) => view.setBigUint64(at, wide(value), true)],
]);

/**
 * A tensor with raw data. A typed array says the element type unless `dataType` does (a Uint16Array of FLOAT16 bits, a
 * Uint8Array of BOOL; its bytes are kept, not copied); plain numbers need `dataType`.
 * @throws UserError E_TENSOR_DATA when the length does not fit `dims`
 */
export function tensorOf(name: string, data: ElementArray, dims: readonly number[], dataType?: number): OnnxTensor;
export function tensorOf(name: string, data: readonly number[], dims: readonly number[], dataType: number): OnnxTensor;
export function tensorOf(
  name: string,
  data: ElementArray | readonly number[],
  dims: readonly number[],
  dataType?: number,
): OnnxTensor {
  const plain = Array.isArray(data) ? (data as readonly number[]) : null;
  const type = dataType ?? arrayTypes.find(([array]) => data instanceof array)?.[1] ?? DataType.UNDEFINED;
  const array = data as ElementArray;
  const bytes = plain ? encode(name, plain, type) : new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const empty: OnnxTensor = { name, dataType: type, dims, data: { storage: 'raw', bytes }, rest: [] };
  return withData(empty, dims, bytes);
}

/**
 * Like `withData`, from float32 numbers: rounded to the tensor's own type (FLOAT, FLOAT16, BFLOAT16, DOUBLE). Values of
 * a FLOAT tensor are kept, not copied.
 */
export function withFloats(tensor: OnnxTensor, dims: readonly number[], values: Float32Array): OnnxTensor {
  const bytes =
    tensor.dataType === DataType.FLOAT
      ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      : encode(tensor.name, values, tensor.dataType);
  return withData(tensor, dims, bytes);
}

/** Like `withData`, from whole numbers, in the tensor's own integer type. */
export const withInts = (tensor: OnnxTensor, dims: readonly number[], values: readonly number[]): OnnxTensor =>
  withData(tensor, dims, encode(tensor.name, values, tensor.dataType));
