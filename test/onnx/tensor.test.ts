import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBfloat, fromHalf, toBfloat, toHalf } from '../../src/onnx/half.ts';
import {
  bytesOf,
  DataType,
  elementCount,
  floats,
  gatherAxes,
  ints,
  isInteger,
  type OnnxTensor,
  parseModel,
  protoFromTensor,
  strings,
  tensorFromProto,
  tensorOf,
  withData,
  withFloats,
  withInts,
  withName,
} from '../../src/onnx/index.ts';
import { encodeTensor } from '../../src/onnx/tensor.ts';
import { join } from '../../src/onnx/wire.ts';
import { codeOf, encoded, here } from './support.ts';

const golden = JSON.parse(readFileSync(here('golden.json'), 'utf8'));
const types: Record<string, { bytes: string; values?: number[] }> = golden.types;
const model = parseModel(new Uint8Array(readFileSync(here('types.onnx'))));
const tensors = new Map(model.graph.initializers.map(tensor => [tensor.name, tensor]));
const get = (name: string): OnnxTensor => {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(name);
  return tensor;
};
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const packed = (name: string) => /^U?INT[24]$/.test(name);

/** Written to a model and read again. */
const throughFile = (tensor: OnnxTensor): OnnxTensor =>
  parseModel(encoded({ ...model, graph: { ...model.graph, initializers: [tensor] } })).graph.initializers[0];

describe.each(Object.keys(types))('%s', name => {
  const { bytes, values } = types[name];
  const both = [get(`${name}_raw`), get(`${name}_typed`)];

  it('is read as the onnx package reads it, from raw data and from typed fields', () => {
    expect(both.map(tensor => tensor.data.storage)).toEqual(['raw', 'typed']);
    for (const tensor of both) {
      if (packed(name)) {
        expect(codeOf(() => bytesOf(tensor))).toBe('E_TENSOR_TYPE');
        expect(codeOf(() => gatherAxes(tensor, new Map([[0, [0]]])))).toBe('E_TENSOR_TYPE');
        continue;
      }
      expect(base64(bytesOf(tensor))).toBe(bytes);
      if (!values) expect(codeOf(() => floats(tensor))).toBe('E_TENSOR_TYPE');
      else if (isInteger(tensor.dataType)) expect(ints(tensor)).toEqual(values);
      else expect([...floats(tensor)]).toEqual(values.map(Math.fround));
    }
  });

  it('survives the way through a message', () => {
    for (const tensor of both) {
      const proto = protoFromTensor(tensor);
      const back = tensorFromProto(proto);
      expect(tensorFromProto(proto)).toBe(back);
      expect(Buffer.compare(join(encodeTensor(back)), join(encodeTensor(tensor)))).toBe(0);
    }
  });

  if (packed(name)) return;
  it('keeps its way of storing when contents are replaced', () => {
    for (const tensor of both) {
      const old = bytesOf(tensor);
      const [size, count] = [old.length / elementCount(tensor), elementCount(tensor)];
      const turned = gatherAxes(tensor, new Map([[0, [count - 1, 0]]]));
      const expected = [...old.slice(old.length - size), ...old.slice(0, size)];
      const again = throughFile(turned);
      expect(again.data.storage).toBe(tensor.data.storage);
      expect(again.dims).toEqual([2]);
      expect(again.dataType).toBe(tensor.dataType);
      expect([...bytesOf(again)]).toEqual(expected);
    }
  });
});

it('reads strings', () => {
  expect(strings(get('STRING'))).toEqual(['one', 'zwölf']);
  expect(codeOf(() => bytesOf(get('STRING')))).toBe('E_TENSOR_TYPE');
  expect(codeOf(() => strings(get('INT8_raw')))).toBe('E_TENSOR_TYPE');
});

describe('rounding', () => {
  const { float32, float16, bfloat16, back16, backBfloat } = golden.rounding as Record<string, string>;
  const buffer = (text: string) => new Uint8Array(Buffer.from(text, 'base64')).buffer;
  const numbers = new Float32Array(buffer(float32));

  it('to float16 and bfloat16 is numpy’s, ties, subnormals and overflow included', () => {
    expect([...numbers].map(toHalf)).toEqual([...new Uint16Array(buffer(float16))]);
    expect([...numbers].map(toBfloat)).toEqual([...new Uint16Array(buffer(bfloat16))]);
  });

  it('back is exact', () => {
    expect([...new Uint16Array(buffer(float16))].map(fromHalf)).toEqual([...new Float32Array(buffer(back16))]);
    expect([...new Uint16Array(buffer(bfloat16))].map(fromBfloat)).toEqual([...new Float32Array(buffer(backBfloat))]);
  });

  it('keeps every half through float32, NaN as NaN', () => {
    const same = (half: number) => {
      const value = fromHalf(half);
      return Number.isNaN(value) ? Number.isNaN(fromHalf(toHalf(value))) : toHalf(value) === half;
    };
    expect(Array.from({ length: 65536 }, (_, half) => half).filter(half => !same(half))).toEqual([]);
  });

  it('happens where float32 values are put into a narrower tensor', () => {
    const values = Float32Array.of(0.1, -70000, 1e-7);
    for (const [name, expected] of [
      ['FLOAT16', [0.0999755859375, Number.NEGATIVE_INFINITY, 1.1920928955078125e-7]],
      ['FLOAT', [Math.fround(0.1), -70000, Math.fround(1e-7)]],
      ['DOUBLE', [Math.fround(0.1), -70000, Math.fround(1e-7)]],
    ] as const) {
      for (const kind of ['raw', 'typed']) {
        const changed = withFloats(get(`${name}_${kind}`), [3], values);
        expect(changed.data.storage).toBe(kind);
        expect([...floats(throughFile(changed))]).toEqual(expected);
      }
    }
  });
});

describe('gatherAxes', () => {
  it('takes exactly these positions, in order, on any axes', () => {
    const plan = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 }).chain(dims =>
      fc.record({
        dims: fc.constant(dims),
        indices: fc.tuple(
          ...dims.map(dim => fc.option(fc.array(fc.nat(Math.max(0, dim - 1)), { maxLength: dim ? 6 : 0 }))),
        ),
        storage: fc.constantFrom('raw', 'typed'),
      }),
    );
    fc.assert(
      fc.property(plan, ({ dims, indices, storage }) => {
        const count = dims.reduce((product, dim) => product * dim, 1);
        const data = Int32Array.from({ length: count }, (_, i) => i);
        const tensor = withInts({ ...get(`INT32_${storage}`), dims: [2] }, dims, [...data]);
        const given = new Map(indices.flatMap((own, axis) => (own ? [[axis, own] as const] : [])));
        const result = gatherAxes(tensor, given);
        const target = dims.map((dim, axis) => indices[axis]?.length ?? dim);
        const expected: number[] = [];
        const visit = (position: number[]) => {
          if (position.length < target.length) {
            for (let i = 0; i < target[position.length]; i++) visit([...position, i]);
          } else {
            const from = position.map((i, axis) => indices[axis]?.[i] ?? i);
            expected.push(from.reduce((flat, i, a) => flat * dims[a] + i, 0));
          }
        };
        visit([]);
        expect(result.dims).toEqual(target);
        expect(ints(result)).toEqual(expected);
        expect(result.data.storage).toBe(storage);
      }),
    );
  });

  it('does so wherever the bytes lie in a file, with short and long rows', () => {
    for (const inner of [1, 3, 63, 64, 100]) {
      const values = Float32Array.from({ length: 6 * inner }, (_, i) => i);
      const expected = [5, 1, 4].flatMap(row => [...values.subarray(row * inner, (row + 1) * inner)]);
      for (const offset of [0, 1, 2, 3]) {
        const file = Buffer.alloc(offset + values.byteLength);
        file.set(new Uint8Array(values.buffer), offset);
        const tensor = { ...tensorOf('t', values, [6, inner]), data: { storage: 'raw', bytes: file.subarray(offset) } };
        expect([...floats(gatherAxes(tensor as OnnxTensor, new Map([[0, [5, 1, 4]]])))]).toEqual(expected);
      }
    }
  });

  it('refuses axes and indices that are not there', () => {
    const tensor = tensorOf('t', new Float32Array(6), [2, 3]);
    for (const [axis, index] of [
      [2, 0],
      [-3, 0],
      [1, 3],
      [0, -1],
      [0, 0.5],
    ]) {
      expect(codeOf(() => gatherAxes(tensor, new Map([[axis, [index]]])))).toBe('E_TENSOR_INDEX');
    }
  });
});

describe('tensorOf', () => {
  it('takes the type from the array, or as it is told', () => {
    expect(tensorOf('t', new Float32Array(2), [2]).dataType).toBe(DataType.FLOAT);
    expect(tensorOf('t', new BigInt64Array(2), [2]).dataType).toBe(DataType.INT64);
    expect(ints(tensorOf('t', Uint8Array.of(1, 0), [2], DataType.BOOL))).toEqual([1, 0]);
    expect([...floats(tensorOf('t', Uint16Array.of(0x3c00), [1], DataType.FLOAT16))]).toEqual([1]);
    expect(ints(tensorOf('t', [1, -1], [2], DataType.INT64))).toEqual([1, -1]);
    expect(codeOf(() => tensorOf('t', [1], [1], DataType.STRING))).toBe('E_TENSOR_TYPE');
    expect(codeOf(() => tensorOf('t', new Float32Array(2), [3]))).toBe('E_TENSOR_DATA');
  });

  it('holds scalars and empty tensors', () => {
    expect([...floats(throughFile(tensorOf('t', Float32Array.of(5), [])))]).toEqual([5]);
    expect(floats(throughFile(tensorOf('t', new Float32Array(0), [0, 3]))).length).toBe(0);
  });
});

describe('whole numbers', () => {
  it('at the ends of int64 mean "to the end"; others beyond 2^53 are refused', () => {
    const wide = (...values: bigint[]) => tensorOf('ends', BigInt64Array.from(values), [values.length]);
    const ends = wide(2n ** 63n - 1n, -(2n ** 63n), 3n);
    expect(ints(ends)).toEqual([Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 3]);
    expect(Buffer.compare(bytesOf(withInts(ends, [3], ints(ends))), bytesOf(ends))).toBe(0);
    expect(codeOf(() => ints(wide(2n ** 53n)))).toBe('E_TENSOR_DATA');
  });
});

it('reads floats that do not lie on a multiple of four bytes', () => {
  const bytes = new Uint8Array(13);
  new DataView(bytes.buffer).setFloat32(1, 1.5, true);
  const tensor = tensorOf('t', new Float32Array(1), [1]);
  expect([...floats(withData(tensor, [1], bytes.subarray(1, 5)))]).toEqual([1.5]);
});

it('refuses contents that do not fit the shape, by name', () => {
  const tensor = { ...withName(get('FLOAT_raw'), 'short'), dims: [5] };
  expect(() => floats(tensor)).toThrow(/'short' FLOAT\[5\] has 16 bytes of data instead of 20/);
  expect(codeOf(() => floats({ ...get('FLOAT_typed'), dims: [3] }))).toBe('E_TENSOR_DATA');
  expect(codeOf(() => elementCount({ ...tensor, dims: [2 ** 40, 2 ** 40] }))).toBe('E_TENSOR_DATA');
});
