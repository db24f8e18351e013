import { byteSize, DataType } from './data-type.ts';
import { bytesField, eachField, eachVarint, join, varint } from './wire.ts';

/** Which field of TensorProto holds elements that are not in raw_data. https://onnx.ai/onnx/repo-docs/IR.html */
function fieldOf(type: number): 4 | 5 | 7 | 10 | 11 {
  switch (type) {
    case DataType.FLOAT:
    case DataType.COMPLEX64:
      return 4; // float_data
    case DataType.INT64:
      return 7; // int64_data
    case DataType.DOUBLE:
    case DataType.COMPLEX128:
      return 10; // double_data
    case DataType.UINT32:
    case DataType.UINT64:
      return 11; // uint64_data
    default:
      return 5; // int32_data: bit patterns of all types of 32 bits and less
  }
}

/** Whether elements of a type take the same number of bytes in the file as in memory. */
export const isFixedWidth = (type: number): boolean => fieldOf(type) === 4 || fieldOf(type) === 10;

/**
 * Elements out of the encoded fields (packed or one by one), little-endian.
 * @param fields of one tensor; those of another number than its type asks for are ignored, as onnx does
 */
export function decodeTyped(type: number, fields: readonly Uint8Array[]): Uint8Array {
  const number = fieldOf(type);
  // Floats and doubles are fixed-width on the wire, already little-endian.
  if (isFixedWidth(type)) return decodeFixed(number, fields);
  const size = byteSize(type) ?? 1;
  let count = 0;
  eachContent(number, fields, (bytes, start, end) => {
    for (let at = start; at < end; at++) if (bytes[at] < 128) count++;
    // The last one of a field may be cut off.
    if (end > start && bytes[end - 1] >= 128) count++;
  });
  const decoded = new Uint8Array(count * size);
  const view = new DataView(decoded.buffer);
  let to = 0;
  eachContent(number, fields, (bytes, start, end) =>
    eachVarint(bytes, start, end, (low, high) => {
      if (size === 8) {
        view.setInt32(to, low, true);
        view.setInt32(to + 4, high, true);
      } else if (size === 4) view.setInt32(to, low, true);
      else if (size === 2) view.setInt16(to, low, true);
      else view.setInt8(to, low);
      to += size;
    }),
  );
  return to === decoded.byteLength ? decoded : decoded.subarray(0, to);
}

/** Contents of the fields of one number. */
function eachContent(
  wanted: number,
  fields: readonly Uint8Array[],
  found: (bytes: Uint8Array, start: number, end: number) => void,
): void {
  for (const encoded of fields) {
    eachField(encoded, { base: encoded.byteOffset }, 0, encoded.byteLength, (number, _type, _from, start, end) => {
      if (number === wanted) found(encoded, start, end);
    });
  }
}

function decodeFixed(number: number, fields: readonly Uint8Array[]): Uint8Array {
  let parts = 0;
  let length = 0;
  let only: Uint8Array | null = null;
  eachContent(number, fields, (bytes, start, end) => {
    if (parts++ === 0) only = bytes.subarray(start, end);
    length += end - start;
  });
  if (parts === 1) return only!;
  const joined = new Uint8Array(length);
  let at = 0;
  eachContent(number, fields, (bytes, start, end) => {
    joined.set(bytes.subarray(start, end), at);
    at += end - start;
  });
  return joined;
}

/** Little-endian elements as the one packed field that the type asks for. */
export function encodeTyped(type: number, bytes: Uint8Array): Uint8Array[] {
  const number = fieldOf(type);
  if (isFixedWidth(type)) return [join(bytesField(number, [bytes]))];
  const size = byteSize(type) ?? 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signed: ReadonlySet<number> = new Set([DataType.INT8, DataType.INT16, DataType.INT32]);
  const read = (at: number): number | bigint => {
    if (size === 8) return view.getBigInt64(at, true);
    if (size === 4) return type === DataType.UINT32 ? view.getUint32(at, true) : view.getInt32(at, true);
    if (size === 2) return signed.has(type) ? view.getInt16(at, true) : view.getUint16(at, true);
    return signed.has(type) ? view.getInt8(at) : view.getUint8(at);
  };
  const parts: Uint8Array[] = [];
  const block = 4096 * size;
  for (let from = 0; from < bytes.byteLength; from += block) {
    const count = Math.min(block, bytes.byteLength - from) / size;
    parts.push(join(Array.from({ length: count }, (_, i) => varint(read(from + i * size)))));
  }
  return [join(bytesField(number, parts))];
}
