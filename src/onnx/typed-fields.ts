import { byteSize, DataType } from './data-type.ts';
import { bytesField, content, join, varint, varints, walk } from './wire.ts';

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

/**
 * Elements out of the encoded fields (packed or one by one), little-endian.
 * @param fields of one tensor; those of another number than its type asks for are ignored, as onnx does
 */
export function decodeTyped(type: number, fields: readonly Uint8Array[]): Uint8Array {
  const number = fieldOf(type);
  const parts = fields
    .flatMap(encoded => walk(encoded, { base: encoded.byteOffset }))
    .filter(field => field.number === number);
  // Floats and doubles are fixed-width on the wire, already little-endian.
  if (number === 4 || number === 10) return parts.length === 1 ? content(parts[0]) : join(parts.map(content));
  const values = parts.flatMap(varints);
  const size = byteSize(type) ?? 1;
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    if (size === 8) view.setBigInt64(i * 8, value, true);
    else if (size === 4) view.setInt32(i * 4, Number(BigInt.asIntN(32, value)), true);
    else if (size === 2) view.setInt16(i * 2, Number(BigInt.asIntN(16, value)), true);
    else view.setInt8(i, Number(BigInt.asIntN(8, value)));
  });
  return bytes;
}

/** Little-endian elements as the one packed field that the type asks for. */
export function encodeTyped(type: number, bytes: Uint8Array): Uint8Array[] {
  const number = fieldOf(type);
  if (number === 4 || number === 10) return [join(bytesField(number, [bytes]))];
  const size = byteSize(type) ?? 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const signed: ReadonlySet<number> = new Set([DataType.INT8, DataType.INT16, DataType.INT32]);
  const read = (at: number): number | bigint => {
    if (size === 8) return view.getBigInt64(at, true);
    if (size === 4) return type === DataType.UINT32 ? view.getUint32(at, true) : view.getInt32(at, true);
    if (size === 2) return signed.has(type) ? view.getInt16(at, true) : view.getUint16(at, true);
    return signed.has(type) ? view.getInt8(at) : view.getUint8(at);
  };
  const values = Array.from({ length: bytes.byteLength / size }, (_, i) => varint(read(i * size)));
  return [join(bytesField(number, values))];
}
