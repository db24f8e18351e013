/** Element types by ONNX's numbers (TensorProto.DataType). */
export const DataType = {
  UNDEFINED: 0,
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
  COMPLEX64: 14,
  COMPLEX128: 15,
  BFLOAT16: 16,
  FLOAT8E4M3FN: 17,
  FLOAT8E4M3FNUZ: 18,
  FLOAT8E5M2: 19,
  FLOAT8E5M2FNUZ: 20,
  UINT4: 21,
  INT4: 22,
  FLOAT4E2M1: 23,
  FLOAT8E8M0: 24,
  UINT2: 25,
  INT2: 26,
} as const;
export type DataType = (typeof DataType)[keyof typeof DataType];

const names: ReadonlyMap<number, string> = new Map(Object.entries(DataType).map(([name, type]) => [type, name]));

/** A type's name in ONNX's spelling, `FLOAT16`; `type 99` for one that this table does not know. */
export const dataTypeName = (type: number): string => names.get(type) ?? `type ${type}`;

const bits: ReadonlyMap<number, number> = new Map<number, number>([
  [DataType.FLOAT, 32],
  [DataType.UINT8, 8],
  [DataType.INT8, 8],
  [DataType.UINT16, 16],
  [DataType.INT16, 16],
  [DataType.INT32, 32],
  [DataType.INT64, 64],
  [DataType.BOOL, 8],
  [DataType.FLOAT16, 16],
  [DataType.DOUBLE, 64],
  [DataType.UINT32, 32],
  [DataType.UINT64, 64],
  [DataType.COMPLEX64, 64],
  [DataType.COMPLEX128, 128],
  [DataType.BFLOAT16, 16],
  [DataType.FLOAT8E4M3FN, 8],
  [DataType.FLOAT8E4M3FNUZ, 8],
  [DataType.FLOAT8E5M2, 8],
  [DataType.FLOAT8E5M2FNUZ, 8],
  [DataType.UINT4, 4],
  [DataType.INT4, 4],
  [DataType.FLOAT4E2M1, 4],
  [DataType.FLOAT8E8M0, 8],
  [DataType.UINT2, 2],
  [DataType.INT2, 2],
]);

/** Bits of one element; null for strings and unknown types. */
export const bitsOf = (type: number): number | null => bits.get(type) ?? null;

/** Bytes of one element; null where elements are not whole bytes (4 and 2 bits), for strings and unknown types. */
export function byteSize(type: number): number | null {
  const size = bits.get(type);
  return size === undefined || size < 8 ? null : size / 8;
}

/** Bytes per element, half a byte for 4-bit types; 0 for strings and unknown types, whose type says no size. */
export const dataTypeBytes = (type: number): number => (bits.get(type) ?? 0) / 8;

const integers: ReadonlySet<number> = new Set([
  DataType.UINT8,
  DataType.INT8,
  DataType.UINT16,
  DataType.INT16,
  DataType.INT32,
  DataType.INT64,
  DataType.BOOL,
  DataType.UINT32,
  DataType.UINT64,
]);

/** Whether `ints` reads this type: integers of whole bytes, and bool. */
export const isInteger = (type: number): boolean => integers.has(type);
