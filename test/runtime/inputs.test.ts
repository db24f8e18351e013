import { expect, test } from 'vitest';
import { fromHalf } from '../../src/onnx/half.ts';
import { finiteInputs, inputShapes } from '../../src/runtime/inputs.ts';
import type { RuntimeType, RuntimeValue } from '../../src/runtime/session.ts';

const image: RuntimeValue = { name: 'image', type: 'float32', shape: ['N', 3, 'H', 'W'] };
const mask: RuntimeValue = { name: 'mask', type: 'bool', shape: ['N', 'H'] };

test('a symbolic first axis is the batch, 1 unless said otherwise; fixed axes stay', () => {
  const fixed: RuntimeValue = { name: 'x', type: 'float32', shape: ['', 3, 4] };
  expect(inputShapes([fixed])).toEqual({ x: [1, 3, 4] });
  expect(inputShapes([fixed], { batch: 32 })).toEqual({ x: [32, 3, 4] });
  expect(inputShapes([{ ...fixed, shape: [2, 5] }], { batch: 32 })).toEqual({ x: [2, 5] });
  expect(inputShapes([{ ...fixed, shape: [] }], { batch: 32 })).toEqual({ x: [] });
});

test('a symbol has one length everywhere', () => {
  const shapes = { image: [1, 3, 8, 9] };
  expect(inputShapes([image, mask], { shapes })).toEqual({ image: [1, 3, 8, 9], mask: [1, 8] });
  expect(inputShapes([image, mask], { shapes, batch: 4 })).toEqual({ image: [4, 3, 8, 9], mask: [4, 8] });
  expect(inputShapes([mask, image], { shapes: { image: [2, 3, 8, 9] } })).toEqual({
    image: [2, 3, 8, 9],
    mask: [2, 8],
  });
  expect(() => inputShapes([image, mask], { shapes: { ...shapes, mask: [1, 7] } })).toThrow(/'H'.*8 and 7/);
});

test('an axis without a length is an error that names the input and the flag', () => {
  expect(() => finiteInputs([image])).toThrow(/--shape image=1,3,H,W/);
  const nameless: RuntimeValue = { ...image, shape: ['', 3, '', 'p2o.DynamicDimension.2'] };
  expect(() => finiteInputs([nameless])).toThrow(/--shape image=1,3,H,W/);
});

test('shapes that do not fit are errors', () => {
  expect(() => inputShapes([image], { shapes: { image: [1, 4, 8, 8] } })).toThrow(
    /does not fit.*'image' \[N, 3, H, W\]/,
  );
  expect(() => inputShapes([image], { shapes: { image: [1, 3, 8] } })).toThrow(/does not fit/);
  expect(() => inputShapes([image], { shapes: { image: [1, 3, 8, -1] } })).toThrow(/does not fit/);
  expect(() => inputShapes([image], { shapes: { img: [1, 3, 8, 8] } })).toThrow(/no input 'img'.*'image'/);
});

test('inputs are finite, of the declared type, and repeat with their seed', () => {
  const types: RuntimeType[] = [
    ...(['float32', 'float64', 'float16', 'int8', 'uint8', 'int16', 'uint16'] as const),
    ...(['int32', 'uint32', 'int64', 'uint64', 'bool'] as const),
  ];
  const inputs = types.map(type => ({ name: type, type, shape: [40, 5] }));
  const made = finiteInputs(inputs, { seed: 5 });
  expect(finiteInputs(inputs, { seed: 5 })).toEqual(made);
  expect(finiteInputs(inputs, { seed: 6 }).float32.data).not.toEqual(made.float32.data);
  for (const type of types) {
    const numbers = Array.from(made[type].data as Iterable<number | bigint>, x =>
      type === 'float16' ? fromHalf(Number(x)) : Number(x),
    );
    expect(made[type]).toMatchObject({ type, shape: [40, 5] });
    expect(numbers).toHaveLength(200);
    expect(numbers.every(Number.isFinite)).toBe(true);
    if (type.startsWith('float')) expect(numbers.some(x => !Number.isInteger(x) && x < 0)).toBe(true);
    else expect([...new Set(numbers)].sort()).toEqual(type === 'bool' ? [0, 1] : [0, 1, 2, 3]);
  }
});

test('small integers are -1, 0 and 1', () => {
  const { x } = finiteInputs([{ name: 'x', type: 'float16', shape: [100] }], { values: 'small-integers' });
  expect(new Set(Array.from(x.data as Uint16Array, fromHalf))).toEqual(new Set([-1, 0, 1]));
});

test('an input that takes no numbers is an error', () => {
  expect(() => finiteInputs([{ name: 'text', type: 'string', shape: [1] }])).toThrow(/'text' takes string/);
  expect(() => finiteInputs([{ name: 'list', type: null, shape: [] }])).toThrow(/'list' takes no tensor/);
});
