import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readModel } from '../../src/onnx/read.ts';
import { finiteInputs } from '../../src/runtime/inputs.ts';
import { probeShapes } from '../../src/runtime/probe.ts';
import { floats, node, type TestModel, temporaryFolder, writeTestModel } from './models.ts';

const folder = temporaryFolder();
const model: TestModel = {
  inputs: { x: ['float', ['N', 3, 8, 8]] },
  outputs: { y: ['float', ['N', 5]] },
  initializers: [floats('w', [5, 3, 3, 3], Array(135).fill(0.1))],
  nodes: [
    node('Conv', ['x', 'w'], ['conv'], { strides: [2, 2] }),
    node('Shape', ['conv'], ['shape']),
    node('SequenceConstruct', ['conv', 'conv'], ['list']),
    node('SequenceLength', ['list'], ['length']),
    node('GlobalAveragePool', ['conv'], ['pool']),
    node('Flatten', ['pool'], ['y']),
  ],
};
const path = writeTestModel(join(folder, 'model.onnx'), model);
const inputs = finiteInputs([{ name: 'x', type: 'float32', shape: ['N', 3, 8, 8] }], { batch: 2 });

test('shapes and types of everything that a graph computes; sequences are left out', async () => {
  const expected = {
    conv: { type: 'float32', shape: [2, 5, 3, 3] },
    shape: { type: 'int64', shape: [4] },
    length: { type: 'int64', shape: [] },
    pool: { type: 'float32', shape: [2, 5, 1, 1] },
    y: { type: 'float32', shape: [2, 5] },
  };
  expect(Object.fromEntries(await probeShapes(path, inputs))).toEqual(expected);
  expect(Object.fromEntries(await probeShapes(readModel(path), inputs))).toEqual(expected);
});

test('only the values that are asked for', async () => {
  const found = await probeShapes(path, inputs, ['pool', 'not there', 'x']);
  expect([...found]).toEqual([['pool', { type: 'float32', shape: [2, 5, 1, 1] }]]);
});
