import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { messageOf, UserError } from './errors.ts';

/**
 * The safetensors format: 8 bytes header length (little endian), a JSON header, the tensors' bytes without gaps.
 * https://huggingface.co/docs/safetensors
 */
export interface SafeTensor {
  readonly dtype: SafeDtype;
  readonly shape: readonly number[];
  /** The dtype's typed array; half precision as its 16 bits in a Uint16Array, booleans as 0 and 1 in a Uint8Array. */
  readonly data: SafeData;
}

export type SafeDtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';
export type SafeData =
  | Float64Array
  | Float32Array
  | Uint16Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array;

interface ArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): SafeData;
}

/** In the order in which the reference writer stores them, which keeps every tensor aligned to its element. */
const arrays: Record<SafeDtype, ArrayConstructor> = {
  I64: BigInt64Array,
  F64: Float64Array,
  F32: Float32Array,
  I32: Int32Array,
  BF16: Uint16Array,
  F16: Uint16Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};
const order = Object.keys(arrays) as SafeDtype[];

/** The reference reader's limit. */
const largestHeader = 100_000_000;
const metadataKey = '__metadata__';

/**
 * A safetensors file as chunks: the header, then views of the tensors' data in the order of the reference writer
 * (wide elements first, then by name), so that equal content gives equal bytes.
 * @param metadata free text, for readers
 */
export function encodeSafetensors(
  tensors: Readonly<Record<string, SafeTensor>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array[] {
  const named = Object.entries(tensors).sort(
    ([a, { dtype: x }], [b, { dtype: y }]) => order.indexOf(x) - order.indexOf(y) || (a < b ? -1 : 1),
  );
  const entries: [string, unknown][] = metadata ? [[metadataKey, metadata]] : [];
  let end = 0;
  for (const [name, tensor] of named) {
    const begin = end;
    if (tensor.data.length !== elements(tensor.shape) || !(tensor.data instanceof arrays[tensor.dtype]))
      throw new TypeError(`Tensor ${name}: ${tensor.data.length} elements are no ${tensor.dtype} [${tensor.shape}]`);
    if (name === metadataKey) throw new TypeError(`A tensor cannot be named ${metadataKey}`);
    end += tensor.data.byteLength;
    entries.push([name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }]);
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  return [header, ...named.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
}

export interface SafetensorsContent {
  readonly tensors: Record<string, SafeTensor>;
  readonly metadata: Record<string, string>;
}

/**
 * Read a safetensors file.
 * @throws UserError E_SAFETENSORS when it is missing, truncated or corrupt
 */
export function readSafetensors(path: string): SafetensorsContent {
  return parseSafetensors(readWhole(path), path);
}

/**
 * Parse a safetensors file. Tensors are views of `bytes` where their offset allows it.
 * @param name the file, for the error
 * @throws UserError E_SAFETENSORS when it is truncated or corrupt: the header must describe every byte exactly once
 */
export function parseSafetensors(bytes: Uint8Array, name = 'safetensors data'): SafetensorsContent {
  const header = readHeader(bytes, name);
  const start = 8 + header.length;
  const size = bytes.byteLength - start;
  const tensors = Object.entries(header.json)
    .filter(([key]) => key !== metadataKey)
    .map(([key, value]) => ({ key, ...readEntry(key, value, name) }))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const tensor of tensors) {
    if (tensor.begin !== end) throw corrupt(name, `tensor '${tensor.key}' starts at ${tensor.begin}, expected ${end}`);
    end = tensor.end;
  }
  if (end !== size) throw corrupt(name, `the header describes ${end} bytes of tensors, the file has ${size}`);
  return {
    tensors: Object.fromEntries(
      tensors.map(({ key, dtype, shape, begin }) => [
        key,
        { dtype, shape, data: view(arrays[dtype], bytes, start + begin, elements(shape)) },
      ]),
    ),
    metadata: readMetadata(header.json[metadataKey], name),
  };
}

function readHeader(bytes: Uint8Array, name: string): { length: number; json: Record<string, unknown> } {
  if (bytes.byteLength < 8) throw corrupt(name, `${bytes.byteLength} bytes are too few for a header`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > largestHeader) throw corrupt(name, `a header of ${length} bytes`);
  if (8 + length > bytes.byteLength)
    throw corrupt(name, `the file ends after ${bytes.byteLength} bytes, its header alone needs ${8 + length}`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length));
    const json: unknown = JSON.parse(text);
    if (isObject(json)) return { length, json };
  } catch (error) {
    throw corrupt(name, `the header is not JSON (${messageOf(error)})`);
  }
  throw corrupt(name, 'the header is not a JSON object');
}

function readEntry(key: string, value: unknown, name: string) {
  const { dtype, shape, data_offsets: offsets } = isObject(value) ? value : {};
  if (typeof dtype !== 'string' || !Object.hasOwn(arrays, dtype))
    throw corrupt(name, `tensor '${key}' has the element type ${JSON.stringify(dtype)}, known are ${order.join(', ')}`);
  if (!isCounts(shape)) throw corrupt(name, `tensor '${key}' has no valid shape`);
  if (!isCounts(offsets) || offsets.length !== 2) throw corrupt(name, `tensor '${key}' has no valid data_offsets`);
  const [begin, end] = offsets;
  const expected = elements(shape) * arrays[dtype as SafeDtype].BYTES_PER_ELEMENT;
  if (end - begin !== expected)
    throw corrupt(name, `tensor '${key}' ${dtype} [${shape}] needs ${expected} bytes and has ${end - begin}`);
  return { dtype: dtype as SafeDtype, shape, begin, end };
}

function readMetadata(value: unknown, name: string): Record<string, string> {
  if (value === undefined) return {};
  if (isObject(value) && Object.values(value).every(text => typeof text === 'string'))
    return value as Record<string, string>;
  throw corrupt(name, `${metadataKey} is not a map of strings`);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every(count => Number.isSafeInteger(count) && count >= 0);

const elements = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);

function view(Type: ArrayConstructor, bytes: Uint8Array, at: number, length: number): SafeData {
  const offset = bytes.byteOffset + at;
  if (offset % Type.BYTES_PER_ELEMENT === 0) return new Type(bytes.buffer, offset, length);
  const copy = bytes.slice(at, at + length * Type.BYTES_PER_ELEMENT);
  return new Type(copy.buffer, 0, length);
}

const corrupt = (name: string, reason: string): UserError =>
  new UserError('E_SAFETENSORS', `${name} is not a complete safetensors file: ${reason}.`, {
    where: name,
    fix: 'Copy the file again, or use an earlier one.',
  });

/** `fs.readFile` refuses files over 2 GiB. */
function readWhole(path: string): Uint8Array {
  try {
    const file = openSync(path, 'r');
    try {
      const bytes = new Uint8Array(fstatSync(file).size);
      for (let at = 0; at < bytes.length; ) {
        const got = readSync(file, bytes, at, Math.min(2 ** 30, bytes.length - at), at);
        if (got === 0) return bytes.subarray(0, at);
        at += got;
      }
      return bytes;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new UserError('E_SAFETENSORS', `Could not read ${path}: ${messageOf(error)}.`, { where: path, cause: error });
  }
}
