import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { elemTypeOf, GraphBuilder, type OnnxModel, readModel, shapeOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { finiteInputs } from '../../src/runtime/inputs.ts';
import { probeShapes, withProbedShapes } from '../../src/runtime/probe.ts';
import type { RuntimeValue } from '../../src/runtime/session.ts';
import { netOf } from '../prune/nets.ts';
import { floats, node, type TestModel, temporaryFolder, writeTestModel } from './models.ts';

const folder = temporaryFolder();
const described: TestModel = {
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
const path = writeTestModel(join(folder, 'model.onnx'), described);
const model = readModel(path);
const feeds = (inputs: readonly RuntimeValue[]) => [finiteInputs(inputs, { batch: 2 })];

test('shapes and types of values; sequences are left out', async () => {
  const names = ['conv', 'shape', 'list', 'length', 'pool', 'y', 'not there', 'x'];
  const [found] = await probeShapes(model, names, feeds);
  expect(Object.fromEntries(found)).toEqual({
    conv: { type: 'float32', shape: [2, 5, 3, 3] },
    shape: { type: 'int64', shape: [4] },
    length: { type: 'int64', shape: [] },
    pool: { type: 'float32', shape: [2, 5, 1, 1] },
    y: { type: 'float32', shape: [2, 5] },
  });
});

describe('what no rule knows is declared', () => {
  const own = { domains: { 'com.microsoft': 1 } };
  const shapeIn = (from: OnnxModel, name: string) => {
    const info = from.graph.valueInfo.find(value => value.name === name);
    return info && { type: elemTypeOf(info), shape: shapeOf(info) };
  };

  test('behind an If that always takes the same branch, and behind no other', async () => {
    const branch = (by: string) => {
      const inner = new GraphBuilder({ name: by });
      inner.output(
        inner.node('Mul', ['X', inner.initializer(`${by}.factor`, Float32Array.of(2), [])], {}, { output: by }),
      );
      return inner.graphProto();
    };
    for (const isSettled of [true, false]) {
      const chosen = netOf(
        (g, x) => {
          const length = g.op('Gather', [g.op('Shape', [x]), g.ints('axis', isSettled ? 1 : 0)]);
          const condition = g.op('Equal', [length, g.ints('three', 3)]);
          const y = g.op('If', [condition], { then_branch: branch('yes'), else_branch: branch('no') }, 'choice');
          return g.conv(y, 3, 4, { name: 'c' });
        },
        { shape: ['N', 3, 8, 8] },
      );
      const probed = await withProbedShapes(buildGraph(chosen, operators));
      expect(shapeIn(probed.model, 'choice')).toEqual(isSettled ? { type: 1, shape: ['N', 3, 8, 8] } : undefined);
    }
  });

  test('behind a fused operator: the batch keeps its symbol', async () => {
    const fused = netOf(
      (g, x) => {
        const y = g.node('Inverse', [x], {}, { output: 'y', domain: 'com.microsoft' });
        return g.op('MatMul', [y, g.weight('v', [8, 5])]);
      },
      { shape: ['N', 8, 8], ...own },
    );
    const probed = await withProbedShapes(buildGraph(fused, operators));
    expect(probed.values).toEqual(['y']);
    expect(shapeIn(probed.model, 'y')).toEqual({ type: 1, shape: ['N', 8, 8] });
    expect(buildGraph(probed.model, operators).types.get('matmul0')?.shape).toEqual(['N', 8, 5]);
  });

  test('lengths that depend on the data or on open axes have names; for costs they are those that are given', async () => {
    const open = netOf(
      (g, x) => {
        const parts = g.op('SplitToSequence', [g.op('Relu', [x]), g.initializer('n', BigInt64Array.of(2n), [])], {
          axis: 1,
        });
        const first = g.op('SequenceAt', [parts, g.initializer('i', BigInt64Array.of(0n), [])], {}, 'first');
        return g.op('Relu', [first]);
      },
      { shape: ['N', 4, 'W'] },
    );
    const { model: found, priced } = await withProbedShapes(buildGraph(open, operators), { X: [1, 4, 6] });
    expect(shapeIn(found, 'first')).toEqual({ type: 1, shape: ['N', 2, 'first_2'] });
    expect(shapeIn(priced, 'first')).toEqual({ type: 1, shape: ['N', 2, 6] });
  });

  test('a file with nothing to find out, or that does not run, stays as it is', async () => {
    const plain = netOf((g, x) => g.op('Relu', [x]));
    expect((await withProbedShapes(buildGraph(plain, operators))).model).toBe(plain);
    const stranger = netOf((g, x) => g.op('Relu', [g.node('Foo', [x], {}, { output: 'foo', domain: 'my.ops' })]), {
      domains: { 'my.ops': 1 },
    });
    expect((await withProbedShapes(buildGraph(stranger, operators))).model).toBe(stranger);
  });
});
