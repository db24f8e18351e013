import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../../src/util/errors.ts';
import { encodeSafetensors, parseSafetensors, readSafetensors, type SafeTensor } from '../../src/util/safetensors.ts';

/**
 * Written by the reference implementation (Python package safetensors), with
 *   save_file({
 *     'b.weight': torch.arange(6).reshape(2, 3) / 4, 'half': torch.tensor([1.5, -2.0]).half(),
 *     'bf': torch.tensor([1.0, -3.140625]).bfloat16(), 'i64': torch.tensor([[-1, 2**40]]),
 *     'i32': torch.tensor(7, dtype=torch.int32), 'i16': torch.tensor([-3], dtype=torch.int16),
 *     'i8': torch.tensor([-8, 8, 1], dtype=torch.int8), 'u8': torch.tensor([255], dtype=torch.uint8),
 *     'ok': torch.tensor([True, False]), 'f64': torch.tensor([0.1], dtype=torch.float64), 'empty': torch.zeros(0, 4),
 *   }, 'test/data/all-types.safetensors', {'über': 'ça'})
 */
const golden = new URL('../data/all-types.safetensors', import.meta.url).pathname;

const expected: Record<string, SafeTensor> = {
  'b.weight': { dtype: 'F32', shape: [2, 3], data: Float32Array.of(0, 0.25, 0.5, 0.75, 1, 1.25) },
  half: { dtype: 'F16', shape: [2], data: Uint16Array.of(0x3e00, 0xc000) },
  bf: { dtype: 'BF16', shape: [2], data: Uint16Array.of(0x3f80, 0xc049) },
  i64: { dtype: 'I64', shape: [1, 2], data: BigInt64Array.of(-1n, 2n ** 40n) },
  i32: { dtype: 'I32', shape: [], data: Int32Array.of(7) },
  i16: { dtype: 'I16', shape: [1], data: Int16Array.of(-3) },
  i8: { dtype: 'I8', shape: [3], data: Int8Array.of(-8, 8, 1) },
  u8: { dtype: 'U8', shape: [1], data: Uint8Array.of(255) },
  ok: { dtype: 'BOOL', shape: [2], data: Uint8Array.of(1, 0) },
  f64: { dtype: 'F64', shape: [1], data: Float64Array.of(0.1) },
  empty: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
};

const join8 = (chunks: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(chunks));
const codeOf = (bytes: Uint8Array) => {
  try {
    parseSafetensors(bytes);
  } catch (error) {
    return error instanceof UserError ? error.code : error;
  }
};

test('reads what the reference implementation wrote', () => {
  const content = readSafetensors(golden);
  expect(content.tensors).toEqual(expected);
  expect(content.metadata).toEqual({ über: 'ça' });
});

test('writes the bytes that the reference implementation writes', () => {
  const written = join8(encodeSafetensors(expected, { über: 'ça' }));
  expect(Buffer.compare(written, readFileSync(golden))).toBe(0);
});

test('tensors that are unaligned in the file are read as well', () => {
  const shifted = new Uint8Array(readFileSync(golden).length + 1);
  shifted.set(readFileSync(golden), 1);
  expect(parseSafetensors(shifted.subarray(1)).tensors).toEqual(expected);
});

test('any truncation is an error, and so is a byte too many', () => {
  const whole = new Uint8Array(readFileSync(golden));
  for (let length = 0; length < whole.length; length += 7)
    expect(codeOf(whole.subarray(0, length))).toBe('E_SAFETENSORS');
  expect(codeOf(join8([whole, Uint8Array.of(0)]))).toBe('E_SAFETENSORS');
  expect(codeOf(whole)).toBeUndefined();
});

test.each([
  ['[]', 0],
  ['{"a":', 0],
  ['{"a":1}', 0],
  ['{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}', 4],
  ['{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4],
  ['{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4],
  ['{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8],
  ['{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 3],
  ['{"__metadata__":{"a":1}}', 0],
])('a wrong header is an error: %s', (header, size) => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  expect(codeOf(join8([length, Buffer.from(header), new Uint8Array(size)]))).toBe('E_SAFETENSORS');
});

test('damaged bytes are read or refused, never something else', () => {
  const whole = new Uint8Array(readFileSync(golden));
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
      const damaged = whole.slice();
      damaged[at] = value;
      expect([undefined, 'E_SAFETENSORS']).toContain(codeOf(damaged));
    }),
  );
});

test('a tensor whose data does not fill its shape is a mistake of the caller', () => {
  expect(() => encodeSafetensors({ a: { dtype: 'F32', shape: [3], data: new Float32Array(2) } })).toThrow(TypeError);
  expect(() => encodeSafetensors({ a: { dtype: 'F32', shape: [2], data: new Int32Array(2) } })).toThrow(TypeError);
});

test('a missing file is an error with its path', () => {
  expect(() => readSafetensors('/nowhere/x.safetensors')).toThrow(/nowhere\/x\.safetensors/);
  const folder = mkdtempSync(join(tmpdir(), 's2hpruner-test-'));
  writeFileSync(join(folder, 'empty.safetensors'), '');
  expect(() => readSafetensors(join(folder, 'empty.safetensors'))).toThrow(UserError);
  rmSync(folder, { recursive: true });
});
