import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readModel } from '../../src/onnx/read.ts';
import { startChild } from '../../src/runtime/child.ts';
import { openModel, openSession, runtimeVersion } from '../../src/runtime/session.ts';
import { floats, node, scoresAreImages, type TestModel, temporaryFolder, writeTestModel } from './models.ts';

const folder = temporaryFolder();
const file = (name: string, model: TestModel) => writeTestModel(join(folder, name), model);

/** y = x w with x [N, 2], w = [[1, 2, 3], [4, 5, 6]]; as IR version 3 asks, w is listed as an input too. */
const linear: TestModel = {
  inputs: { x: ['float', ['N', 2]], w: ['float', [2, 3]] },
  outputs: { y: ['float', ['N', 3]] },
  initializers: [floats('w', [2, 3], [1, 2, 3, 4, 5, 6])],
  nodes: [node('MatMul', ['x', 'w'], ['y'])],
  irVersion: 3,
};

test.each(['all', 'none'] as const)('runs a file; its weights are not asked for (optimize %s)', async optimize => {
  const session = await openSession(file('linear.onnx', linear), { optimize, threads: 2 });
  expect(session).toMatchObject({ optimize, threads: 2, name: join(folder, 'linear.onnx') });
  expect(session.inputs).toEqual([{ name: 'x', type: 'float32', shape: ['N', 2] }]);
  expect(session.outputs).toEqual([{ name: 'y', type: 'float32', shape: ['N', 3] }]);
  const { y } = await session.run({ x: { type: 'float32', shape: [2, 2], data: Float32Array.of(1, 10, 0, -1) } });
  expect(y).toEqual({ type: 'float32', shape: [2, 3], data: Float32Array.of(41, 52, 63, -4, -5, -6) });
  await session.dispose();
});

test('initializers that a caller may replace (IR version 8) are not asked for either', async () => {
  const session = await openSession(file('replaceable.onnx', { ...linear, irVersion: 8 }));
  expect(session.inputs.map(input => input.name)).toEqual(['x']);
  await session.dispose();
});

test('half precision goes in and comes out as bits, axes without a name as an empty string', async () => {
  const session = await openSession(file('half.onnx', scoresAreImages('', 'half')));
  expect(session.inputs).toEqual([{ name: 'image', type: 'float16', shape: ['', 6, 1, 1] }]);
  const bits = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0, 0x8000);
  const { scores } = await session.run({ image: { type: 'float16', shape: [1, 6, 1, 1], data: bits } });
  expect(scores).toEqual({ type: 'float16', shape: [1, 6], data: bits });
  await session.dispose();
});

test('only the outputs that are asked for are computed', async () => {
  const two: TestModel = {
    ...linear,
    outputs: { y: ['float', ['N', 3]], z: ['float', ['N', 3]] },
    nodes: [...linear.nodes, node('Neg', ['y'], ['z'])],
  };
  const session = await openSession(file('two.onnx', two));
  const feed = { x: { type: 'float32' as const, shape: [1, 2], data: Float32Array.of(1, 0) } };
  expect(Object.keys(await session.run(feed))).toEqual(['y', 'z']);
  expect(await session.run(feed, ['z'])).toEqual({
    z: { type: 'float32', shape: [1, 3], data: Float32Array.of(-1, -2, -3) },
  });
  await session.dispose();
});

test('files that do not load and feeds that do not fit are errors with the file and the reason', async () => {
  const broken = join(folder, 'broken.onnx');
  writeFileSync(broken, 'not a model');
  await expect(openSession(broken)).rejects.toMatchObject({ code: 'E_ONNX_CORRUPT', where: broken });
  await expect(openSession(join(folder, 'missing.onnx'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  const unknown = file('unknown.onnx', { ...linear, nodes: [node('Frobnicate', ['x'], ['y'])] });
  await expect(openSession(unknown)).rejects.toMatchObject({ code: 'E_RUNTIME', where: unknown });
  await expect(openSession(unknown)).rejects.toThrow(/Frobnicate/);
  const session = await openSession(file('linear.onnx', linear));
  const wrong = session.run({ x: { type: 'float32', shape: [1, 3], data: new Float32Array(3) } });
  await expect(wrong).rejects.toMatchObject({ code: 'E_RUNTIME', what: expect.stringMatching(/^[^\n]*linear[^\n]*$/) });
  await expect(session.run({})).rejects.toThrow(/'x' is missing/);
  await session.dispose();
});

test('a model in memory runs as its file does', async () => {
  const session = await openModel(readModel(file('linear.onnx', linear)), {}, 'the linear model');
  expect(session.name).toBe('the linear model');
  const { y } = await session.run({ x: { type: 'float32', shape: [1, 2], data: Float32Array.of(1, 1) } });
  expect(y.data).toEqual(Float32Array.of(5, 7, 9));
  await session.dispose();
});

test('without onnxruntime-node the error has the command that adds it', async () => {
  expect(await runtimeVersion()).toMatch(/^\d+\.\d+\.\d+$/);
  await expect(startChild('no-such-package-here').ask({ op: 'version' }, 60)).rejects.toMatchObject({
    code: 'E_NO_RUNTIME',
    fix: expect.stringContaining('npm install onnxruntime-node@'),
  });
});

test('inputs may stay where the file is loaded, to time runs on them', async () => {
  const session = await openSession(file('linear.onnx', linear));
  const run = await session.bind({ x: { type: 'float32', shape: [1, 2], data: Float32Array.of(1, 1) } });
  expect(await run.time()).toBeGreaterThan(0);
  await run.dispose();
  await session.dispose();
});
