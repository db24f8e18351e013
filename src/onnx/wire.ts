import { UserError } from '../util/errors.ts';

/** The file that bytes are views of, for error messages. */
export interface SourceFile {
  readonly path?: string;
  /** `byteOffset` of the file's first byte in its buffer. */
  readonly base: number;
}

/** Varint, 8 bytes, length-delimited, 4 bytes. ONNX has no groups (3 and 4). */
export type WireType = 0 | 1 | 2 | 5;

/** One field of a message as it stands in the file. https://protobuf.dev/programming-guides/encoding/ */
export interface WireField {
  readonly number: number;
  readonly type: WireType;
  /** What it lies in: the field is `from` to `end` of it, its content (without tag and length) `start` to `end`. */
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly start: number;
  readonly end: number;
}

/** The error for a file that is not what it should be: path and byte offset, never a RangeError. */
export function corrupt(file: SourceFile, bytes: Uint8Array, at: number, what: string): UserError {
  const offset = bytes.byteOffset - file.base + at;
  const path = file.path ?? 'the model';
  return new UserError('E_ONNX_CORRUPT', `${path} is not a sound ONNX file: ${what} at byte ${offset}.`, {
    where: path,
    fix: 'Fetch or export it again.',
  });
}

/** The error for a field that is not what it should be. */
export const corruptField = (file: SourceFile, field: WireField, what: string): UserError =>
  corrupt(file, field.bytes, field.from, what);

/** Most fields of one message. A file of a hundred thousand nodes has as many; noise may have any number. */
const mostFields = 2 ** 20;

/**
 * Calls back for every field of one message, in file order, without looking into them.
 * @param from, end of the message in `bytes`
 * @throws UserError E_ONNX_CORRUPT when the bytes end inside a field or no message can look like this
 */
export function eachField(
  bytes: Uint8Array,
  file: SourceFile,
  from: number,
  end: number,
  found: (number: number, type: WireType, from: number, start: number, end: number) => void,
): void {
  let at = from;
  const number = (): number => {
    const first = at;
    let value = 0;
    for (let scale = 1; at < end; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      if (at - first === 10) throw corrupt(file, bytes, first, 'a number longer than ten bytes');
    }
    throw corrupt(file, bytes, end, 'the file ends inside a number');
  };
  while (at < end) {
    const first = at;
    const tag = number();
    const field = Math.floor(tag / 8);
    const type = tag % 8;
    if (field === 0 || tag >= 2 ** 32) throw corrupt(file, bytes, first, 'an impossible field number');
    let start = at;
    if (type === 0) number();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else if (type === 2) {
      const length = number();
      start = at;
      at += length;
    } else throw corrupt(file, bytes, first, `an impossible wire type (${type})`);
    if (at > end) {
      throw corrupt(file, bytes, first, `field ${field} wants ${at - start} bytes, ${end - start} are left`);
    }
    found(field, type, first, start, at);
  }
}

/**
 * The fields of one message, in file order, without looking into them.
 * @param from, end of the message in `bytes`
 * @param runs fields of these numbers that follow each other are one field, whose content is not looked into either
 * @throws UserError E_ONNX_CORRUPT when the bytes end inside a field or no message can look like this
 */
export function walk(
  bytes: Uint8Array,
  file: SourceFile,
  from = 0,
  end = bytes.byteLength,
  runs?: ReadonlySet<number>,
): WireField[] {
  const fields: WireField[] = [];
  let last: { -readonly [K in keyof WireField]: WireField[K] } | null = null;
  eachField(bytes, file, from, end, (number, type, first, start, stop) => {
    if (last?.number === number && last.type === type && runs?.has(number)) {
      last.end = stop;
      return;
    }
    if (fields.length === mostFields) throw corrupt(file, bytes, first, `more than ${mostFields} fields`);
    fields.push((last = { number, type, bytes, from: first, start, end: stop }));
  });
  return fields;
}

/** The fields of the message that a field holds. */
export const fieldsIn = (field: WireField, file: SourceFile, runs?: ReadonlySet<number>): WireField[] =>
  walk(field.bytes, file, field.start, field.end, runs);

/** A field with tag and length: a view. */
export const whole = (field: WireField): Uint8Array => field.bytes.subarray(field.from, field.end);

/** A field's content: a view. */
export const content = (field: WireField): Uint8Array => field.bytes.subarray(field.start, field.end);

const utf8 = new TextDecoder();

/** Content as text. */
export function text(field: WireField): string {
  // Names are short and ASCII; views and decoder calls would take most of the time of reading a large graph.
  const { bytes, start, end } = field;
  let short = '';
  for (let at = start; at < end && end - start < 64; at++) {
    if (bytes[at] > 127) return utf8.decode(content(field));
    short += String.fromCharCode(bytes[at]);
  }
  return end - start < 64 ? short : utf8.decode(content(field));
}

/** Bytes as a text of as many characters. */
export const latin1 = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');

/**
 * Calls back for varints one after the other, each in two halves of 32 bits (the upper one 0 or -1 for small numbers).
 */
export function eachVarint(
  bytes: Uint8Array,
  start: number,
  end: number,
  found: (low: number, high: number) => void,
): void {
  for (let at = start; at < end; ) {
    let low = 0;
    let high = 0;
    for (let shift = 0; at < end && shift < 70; shift += 7) {
      const byte = bytes[at++];
      const group = byte & 127;
      if (shift < 28) low |= group << shift;
      else if (shift === 28) {
        low |= group << 28;
        high = group >>> 4;
      } else high |= group << (shift - 32);
      if (byte < 128) break;
    }
    found(low | 0, high | 0);
  }
}

/** Varints one after the other, as signed 64-bit integers: the content of a packed field, or one varint. */
export function varints({ bytes, start, end }: WireField): bigint[] {
  const values: bigint[] = [];
  eachVarint(bytes, start, end, (low, high) => {
    const isSmall = high === 0 || (high === -1 && low < 0);
    values.push(isSmall ? BigInt(high === 0 ? low >>> 0 : low) : (BigInt(high) << 32n) | BigInt(low >>> 0));
  });
  return values;
}

/** A varint field's value as a signed 64-bit integer. */
export const integer = (field: WireField): bigint => varints(field)[0];

/** A varint; negative numbers take ten bytes, as protobuf's int64 does. */
export function varint(value: number | bigint): Uint8Array {
  if (typeof value === 'number' && value >= 0 && value < 128) return Uint8Array.of(value);
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest >= 128n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

/** An encoded varint field. */
export const integerField = (number: number, value: number | bigint): Uint8Array =>
  join([varint(number * 8), varint(value)]);

/** An encoded length-delimited field as chunks; the content is not copied. */
export const bytesField = (number: number, chunks: readonly Uint8Array[]): Uint8Array[] => [
  join([varint(number * 8 + 2), varint(byteLength(chunks))]),
  ...chunks,
];

const encoder = new TextEncoder();

/** An encoded string field. */
export const textField = (number: number, value: string): Uint8Array =>
  join(bytesField(number, [encoder.encode(value)]));

/** Sum of the chunks' lengths. */
export const byteLength = (chunks: readonly Uint8Array[]): number =>
  chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);

/** The chunks in one array. */
export function join(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(byteLength(chunks));
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.byteLength;
  }
  return joined;
}

/**
 * The same bytes in fewer chunks: neighbours in one buffer become one view, runs of small ones are copied together.
 * Chunks of `large` bytes and more are never copied.
 */
export function coalesce(chunks: readonly Uint8Array[], large = 65_536): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (const chunk of chunks) {
    const last = views.at(-1);
    if (chunk.byteLength === 0) continue;
    if (last && last.buffer === chunk.buffer && last.byteOffset + last.byteLength === chunk.byteOffset) {
      views[views.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.byteLength + chunk.byteLength);
    } else views.push(chunk);
  }
  const result: Uint8Array[] = [];
  let small: Uint8Array[] = [];
  const flush = () => {
    if (small.length) result.push(small.length === 1 ? small[0] : join(small));
    small = [];
  };
  for (const view of views) {
    if (view.byteLength < large) small.push(view);
    else {
      flush();
      result.push(view);
    }
  }
  flush();
  return result;
}
