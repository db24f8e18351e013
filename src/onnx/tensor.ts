import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { UserError } from '../util/errors.ts';
import { bitsOf, byteSize, DataType, dataTypeName } from './data-type.ts';
import { type ExternalEntries, type ExternalFiles, externalFiles, readExternal, stamp } from './external-data.ts';
import { type TensorProto, TensorProtoSchema } from './onnx_pb.ts';
import { decodeTyped, encodeTyped, isFixedWidth } from './typed-fields.ts';
import {
  byteLength,
  bytesField,
  coalesce,
  content,
  corruptField,
  fieldsIn,
  integer,
  integerField,
  join,
  type SourceFile,
  text,
  textField,
  varints,
  type WireField,
  walk,
  whole,
} from './wire.ts';

/**
 * A tensor of a file: immutable plain data. Make another one with the functions below or by spreading; one that is the
 * very object that was read is written back as its original bytes.
 */
export interface OnnxTensor {
  readonly name: string;
  /** A {@link DataType}, or a number that this version does not know. */
  readonly dataType: number;
  readonly dims: readonly number[];
  readonly data: TensorData;
  /** Every other field (doc string, metadata, unknown ones), encoded, as it stood in the file. */
  readonly rest: readonly Uint8Array[];
}

/** How the elements are stored. */
export type TensorData =
  /** `raw_data`: little-endian element bytes. */
  | { readonly storage: 'raw'; readonly bytes: Uint8Array }
  /** `float_data`, `int32_data` and so on: the encoded fields. */
  | { readonly storage: 'typed'; readonly fields: readonly Uint8Array[] }
  /** In another file; `bytes` is content that was not written yet and wins over what the entries name. */
  | {
      readonly storage: 'external';
      readonly entries: ExternalEntries;
      readonly files: ExternalFiles | null;
      readonly bytes: Uint8Array | ByteSource | null;
    };

/**
 * Bytes that are read or made in parts when they are asked for: what is cut of a file of many gigabytes never is in
 * memory as a whole. What `read` gives may be a view: it is not to be written to.
 */
export interface ByteSource {
  readonly byteLength: number;
  readonly read: (offset: number, length: number) => Uint8Array;
}

/** All of it. */
export const contentOf = (bytes: Uint8Array | ByteSource): Uint8Array =>
  bytes instanceof Uint8Array ? bytes : bytes.read(0, bytes.byteLength);

const externalOfProto = new WeakMap<TensorProto, ExternalFiles>();

/** Remember which folder a message tensor with external data belongs to. */
export const rememberFiles = (proto: TensorProto, files: ExternalFiles): void => {
  externalOfProto.set(proto, files);
};

/** Fields that hold elements; those of strings are told apart, the others may stand there one element at a time. */
const typedFields: ReadonlySet<number> = new Set([4, 5, 6, 7, 10, 11]);

/** The fields of a tensor's message. A run of single elements is one field. */
export const tensorFields = (field: WireField, file: SourceFile): WireField[] => fieldsIn(field, file, typedFields);

const none: readonly Uint8Array[] = Object.freeze([]);

/** A tensor from its fields as `tensorFields` gives them, in any order. */
export function tensorFromFields(
  fields: readonly WireField[],
  file: SourceFile,
  files: ExternalFiles | null,
): OnnxTensor {
  let name = '';
  let dataType = 0;
  let external = false;
  let raw: Uint8Array | null = null;
  const dims: number[] = [];
  const typed: Uint8Array[] = [];
  const entries = new Map<string, string>();
  const rest: Uint8Array[] = [];
  for (const field of fields) {
    const wanted = wireTypes[field.number];
    if (wanted && !wanted.includes(field.type)) {
      throw corruptField(file, field, `field ${field.number} of a tensor has wire type ${field.type}`);
    }
    if (field.number === 1) {
      for (const dim of varints(field)) {
        if (dim < 0n || dim > Number.MAX_SAFE_INTEGER) throw corruptField(file, field, `a tensor of length ${dim}`);
        dims.push(Number(dim));
      }
    } else if (field.number === 2) dataType = Number(BigInt.asIntN(32, integer(field)));
    else if (field.number === 8) name = text(field);
    else if (field.number === 9) raw = content(field);
    else if (field.number === 13) {
      const entry = fieldsIn(field, file);
      const part = (number: number) => entry.findLast(f => f.number === number && f.type === 2);
      const [key, value] = [part(1), part(2)];
      entries.set(key ? text(key) : '', value ? text(value) : '');
    } else if (field.number === 14) external = integer(field) === 1n;
    else if (typedFields.has(field.number)) typed.push(whole(field));
    else rest.push(whole(field));
  }
  if (external && files) stamp(files, entries);
  const data: TensorData = external
    ? { storage: 'external', entries, files, bytes: null }
    : raw
      ? { storage: 'raw', bytes: raw }
      : { storage: 'typed', fields: coalesce(typed) };
  // Copies, since lists that grew keep room for more.
  return { name, dataType, dims: dims.slice(), data, rest: rest.length ? rest : none };
}

/** Wire types that the known fields of TensorProto may have. */
const wireTypes: Readonly<Record<number, readonly number[]>> = {
  1: [0, 2],
  2: [0],
  4: [2, 5],
  5: [0, 2],
  6: [2],
  7: [0, 2],
  8: [2],
  9: [2],
  10: [1, 2],
  11: [0, 2],
  13: [2],
  14: [0],
};

/** A tensor's message as chunks, in the order of the field numbers; large contents are not copied. */
export function encodeTensor(tensor: OnnxTensor): Uint8Array[] {
  const { data } = tensor;
  const typed = data.storage === 'typed' ? data.fields : [];
  const chunks = [...tensor.dims.map(dim => integerField(1, dim)), integerField(2, tensor.dataType), ...typed];
  if (tensor.name) chunks.push(textField(8, tensor.name));
  if (data.storage === 'raw') chunks.push(...bytesField(9, [data.bytes]));
  if (data.storage === 'external') {
    if (data.bytes) chunks.push(...bytesField(9, [contentOf(data.bytes)]));
    else {
      for (const [key, value] of data.entries) chunks.push(...bytesField(13, [textField(1, key), textField(2, value)]));
      chunks.push(integerField(14, 1));
    }
  }
  return [...chunks, ...tensor.rest];
}

/** Number of elements. @throws UserError E_TENSOR_DATA for a product that no memory holds */
export function elementCount(tensor: OnnxTensor): number {
  const count = tensor.dims.includes(0) ? 0 : tensor.dims.reduce((product, dim) => product * dim, 1);
  if (!Number.isSafeInteger(count)) throw tensorError(tensor, 'has more elements than can be counted');
  return count;
}

/** The error for a tensor whose content cannot be used. */
export function tensorError(tensor: OnnxTensor, what: string, fix = 'Export the model again.'): UserError {
  const shape = `${dataTypeName(tensor.dataType)}[${tensor.dims.join(',')}]`;
  return new UserError('E_TENSOR_DATA', `Tensor '${tensor.name}' ${shape} ${what}.`, { where: tensor.name, fix });
}

/** Bytes that all elements take, of whole-byte types and smaller ones; null for strings and unknown types. */
export function contentLength(tensor: OnnxTensor): number | null {
  const bits = bitsOf(tensor.dataType);
  return bits === null ? null : Math.ceil((elementCount(tensor) * bits) / 8);
}

/**
 * Bounds of the number of bytes that the stored data decode to, without reading them; null where that is not known.
 * Numbers of variable length take one byte in the file at least, and ten at most.
 */
export function storedLength({ data, dataType }: OnnxTensor): { readonly least: number; readonly most: number } | null {
  const size = byteSize(dataType);
  if (data.storage === 'raw') return { least: data.bytes.byteLength, most: data.bytes.byteLength };
  if (data.storage === 'external') {
    const length = data.bytes?.byteLength ?? Number(data.entries.get('length') ?? Number.NaN);
    return Number.isSafeInteger(length) ? { least: length, most: length } : null;
  }
  if (size === null) return null;
  const bytes = byteLength(data.fields);
  return { least: 0, most: bytes * (isFixedWidth(dataType) ? 1 : size) };
}

/** Raw or external content as it is stored, checked against type and shape; null for typed fields. */
export function storedBytes(tensor: OnnxTensor): Uint8Array | null {
  const { data } = tensor;
  if (data.storage === 'typed') return null;
  const expected = contentLength(tensor);
  if (data.storage === 'external' && !data.bytes) {
    return readExternal(filesOf(tensor, data.files), data.entries, expected, tensor.name);
  }
  const bytes = contentOf(data.bytes!);
  if (expected !== null && bytes.byteLength !== expected) {
    throw tensorError(tensor, `has ${bytes.byteLength} bytes of data instead of ${expected}`);
  }
  return bytes;
}

/** Bytes of one element. @throws UserError E_TENSOR_TYPE where elements are not whole bytes */
export function elementSize(tensor: OnnxTensor): number {
  const size = byteSize(tensor.dataType);
  if (size !== null) return size;
  const type = dataTypeName(tensor.dataType);
  throw new UserError('E_TENSOR_TYPE', `The elements of tensor '${tensor.name}' (${type}) are not whole bytes.`, {
    where: tensor.name,
    fix: 'It can be kept as it is, but not read or cut.',
  });
}

/**
 * The elements, little-endian, however they are stored. Often a view of the file: do not write to it.
 * @throws UserError E_TENSOR_TYPE for strings and 4- and 2-bit types, E_TENSOR_DATA when content and shape disagree,
 *   E_EXTERNAL_DATA when the data file cannot be used
 */
export function bytesOf(tensor: OnnxTensor): Uint8Array {
  const size = elementSize(tensor);
  const stored = storedBytes(tensor);
  if (stored) return stored;
  const fields = tensor.data.storage === 'typed' ? tensor.data.fields : [];
  const expected = elementCount(tensor) * size;
  const bytes = decodeTyped(tensor.dataType, fields);
  if (bytes.byteLength !== expected) {
    throw tensorError(tensor, `has data for ${bytes.byteLength / size} elements`);
  }
  return bytes;
}

/** The same tensor under another name. */
export const withName = (tensor: OnnxTensor, name: string): OnnxTensor => ({ ...tensor, name });

/**
 * Other contents: name, element type, way of storing (raw, typed, external) and unknown fields stay.
 * @param bytes little-endian elements; kept, not copied
 * @throws UserError E_TENSOR_DATA when the length does not fit `dims`
 */
export function withData(tensor: OnnxTensor, dims: readonly number[], bytes: Uint8Array): OnnxTensor {
  const { data } = tensor;
  const changed = { ...tensor, dims };
  const expected = elementCount(changed) * elementSize(tensor);
  if (bytes.byteLength !== expected) {
    throw tensorError(changed, `takes ${expected} bytes, ${bytes.byteLength} were given`);
  }
  if (data.storage === 'typed') {
    return { ...changed, data: { storage: 'typed', fields: encodeTyped(tensor.dataType, bytes) } };
  }
  return { ...changed, data: { ...data, bytes } };
}

/** The folder of a tensor's data. @throws UserError E_TENSOR_DATA when the model has no path */
export function filesOf(tensor: OnnxTensor, files: ExternalFiles | null): ExternalFiles {
  if (files) return files;
  throw tensorError(tensor, 'has external data, and the model has no path', 'Read the model from its file.');
}

const messages = new WeakMap<TensorProto, OnnxTensor>();

/**
 * A tensor inside an attribute (the value of a Constant). The same message gives the same object each time.
 * @param path of the model, needed for external data of a message that did not come from `readModel`
 */
export function tensorFromProto(proto: TensorProto, path?: string): OnnxTensor {
  const known = messages.get(proto);
  if (known) return known;
  const raw = Object.hasOwn(proto, 'rawData') ? proto.rawData : null;
  const header: TensorProto = Object.assign(create(TensorProtoSchema), proto);
  Reflect.deleteProperty(header, 'rawData');
  const bytes = toBinary(TensorProtoSchema, header);
  const file = { base: bytes.byteOffset };
  const files = externalOfProto.get(proto) ?? (path === undefined ? null : externalFiles(path));
  const tensor = tensorFromFields(walk(bytes, file, 0, bytes.byteLength, typedFields), file, files);
  const complete: OnnxTensor =
    raw && tensor.data.storage === 'typed' ? { ...tensor, data: { storage: 'raw', bytes: raw } } : tensor;
  messages.set(proto, complete);
  return complete;
}

/** The message for a tensor, for an attribute. Raw content is shared, not copied. */
export function protoFromTensor(tensor: OnnxTensor): TensorProto {
  const { data } = tensor;
  const raw = data.storage === 'typed' || !data.bytes ? null : contentOf(data.bytes);
  const header: OnnxTensor = raw ? { ...tensor, data: { storage: 'typed', fields: [] } } : tensor;
  const proto = fromBinary(TensorProtoSchema, join(encodeTensor(header)));
  if (raw) proto.rawData = raw;
  else if (data.storage === 'external' && data.files) rememberFiles(proto, data.files);
  return proto;
}

export { DataType } from './data-type.ts';
