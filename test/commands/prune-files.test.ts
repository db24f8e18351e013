import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { command as benchCommand } from '../../src/commands/bench.ts';
import { callable } from '../../src/commands/command.ts';
import { command as evalCommand } from '../../src/commands/eval.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import {
  attributesOf,
  floats,
  GraphBuilder,
  type OnnxModel,
  type OnnxTensor,
  readModel,
  shapeOf,
  writeModel,
} from '../../src/onnx/index.ts';
import { data, normal, refusal, scratch } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about; bench has its own.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return {
    measureLatency: (paths: string[], options: object) => measureLatency(paths, { ...options, runs: 1, threads: [1] }),
  };
});

const prune = callable(pruneCommand);
const evaluate = callable(evalCommand);
const bench = callable(benchCommand);
const settings = {
  untrained: true,
  data,
  flops: 0.6,
  batch: 16,
  threads: 1,
  lr: 0.02,
  steps: 20,
  searchFrom: 0.2,
} as const;

const indices = (g: GraphBuilder, name: string, values: readonly number[]) =>
  g.initializer(name, BigInt64Array.from(values, BigInt), [values.length]);

/** Two convolutions for one image of 8x8; `head` takes [1, 16, 2, 2] to a row. */
function fixedBatch(head: (g: GraphBuilder, x: string) => { value: string; width: number }): OnnxModel {
  const g = new GraphBuilder({ name: 'fixed' });
  const conv = (x: string, name: string, dims: number[]) =>
    g.node('Relu', [
      g.node('Conv', [x, normal(g, name, dims, 0.3), normal(g, `${name}.bias`, [dims[0]], 0.1)], {
        strides: [2, 2],
        pads: [1, 1, 1, 1],
      }),
    ]);
  const x = conv(conv(g.input('X', [1, 3, 8, 8]), 'a', [8, 3, 3, 3]), 'b', [16, 8, 3, 3]);
  const { value, width } = head(g, x);
  g.output(g.node('Gemm', [value, normal(g, 'v', [4, width], 0.3), normal(g, 'c', [4], 0.1)], { transB: 1 }), [1, 4]);
  return g.model();
}

describe('a file exported for batch 1 (ENOT-AutoDL/onnx2torch#113)', () => {
  test.each<[string, (g: GraphBuilder, x: string) => { value: string; width: number }]>([
    ['Reshape to [1, 64]', (g, x) => ({ value: g.node('Reshape', [x, indices(g, 'shape', [1, 64])]), width: 64 })],
    [
      'Reshape to [1, 16, 4], Transpose, ReduceMean',
      (g, x) => {
        const rows = g.node('Transpose', [g.node('Reshape', [x, indices(g, 'shape', [1, 16, 4])])], {
          perm: [0, 2, 1],
        });
        return { value: g.node('ReduceMean', [rows], { axes: [1], keepdims: 0 }), width: 16 };
      },
    ],
  ])('%s: trained with 16, written back with batch 1, and every image counts', async (_, head) => {
    const folder = scratch();
    const model = join(folder, 'fixed.onnx');
    writeModel(fixedBatch(head), model);
    const result = (await prune({ ...settings, model, out: join(folder, 'run') })) as PruneResult;
    expect(result.certificate.passed).toBe(true);
    expect(result.macs.ratio).toBeLessThanOrEqual(0.6);
    const pruned = join(folder, 'run', 'pruned.onnx');
    const { graph } = readModel(pruned);
    expect([shapeOf(graph.inputs[0]), shapeOf(graph.outputs[0])]).toEqual([
      [1, 3, 8, 8],
      [1, 4],
    ]);
    expect(result.accuracy.onnx).toMatchObject({ images: 32, correct: result.accuracy.hard.correct });
    expect(await evaluate({ file: pruned, data })).toMatchObject({ images: 32, correct: result.accuracy.onnx.correct });
    const { rows } = await bench({ files: [model, pruned] });
    for (const row of rows) {
      if (row.batch === 1) expect(row.medianMs).toBeGreaterThan(0);
      else expect([row.medianMs, row.notRun]).toEqual([undefined, expect.stringMatching(/batch|1/)]);
    }
    expect(rows.some(({ batch }) => batch === 32)).toBe(true);
  });
});

test('a file that takes images as rows', async () => {
  const g = new GraphBuilder({ name: 'rows' });
  const hidden = g.node('Relu', [
    g.node('Gemm', [g.input('X', ['N', 192]), normal(g, 'v', [192, 24], 0.1), normal(g, 'b', [24], 0.1)]),
  ]);
  g.output(g.node('Gemm', [hidden, normal(g, 'w', [24, 4], 0.3), normal(g, 'c', [4], 0.1)]), ['N', 4]);
  const folder = scratch();
  const model = join(folder, 'rows.onnx');
  writeModel(g.model(), model);
  const result = (await prune({ ...settings, model, out: join(folder, 'run') })) as PruneResult;
  expect(result.certificate.passed).toBe(true);
  expect(result.accuracy.onnx.accuracy).toBeGreaterThan(0.5);
  expect(result.accuracy.onnx.correct).toBe(result.accuracy.hard.correct);
});

describe('weights that reach their operator in different ways (ENOT-AutoDL/onnx2torch#132, #194)', () => {
  /** Float constants by name, wherever they are. */
  const constants = (path: string): Map<string, Float32Array> => {
    const { graph } = readModel(path);
    const inNodes = graph.nodes.flatMap(node => {
      const value = node.opType === 'Constant' ? (attributesOf(node).get('value') as OnnxTensor) : undefined;
      return value?.dataType === 1 ? [[node.output[0], floats(value)] as const] : [];
    });
    return new Map([
      ...graph.initializers
        .filter(({ dataType }) => dataType === 1)
        .map(tensor => [tensor.name, floats(tensor)] as const),
      ...inNodes,
    ]);
  };

  test('each is trained under its name, or named as frozen', async () => {
    const g = new GraphBuilder({ name: 'ways' });
    const relu = (x: string) => g.node('Relu', [x]);
    const same = { pads: [1, 1, 1, 1] };
    let x = relu(
      g.node(
        'Conv',
        [g.input('X', ['N', 3, 8, 8]), normal(g, 'plain', [8, 3, 3, 3], 0.2), normal(g, 'plain.bias', [8], 0.1)],
        same,
      ),
    );
    x = relu(g.node('Conv', [x, g.node('Identity', [normal(g, 'renamed', [8, 8, 3, 3], 0.2)])], same));
    const bias = normal(g, 'added', [1, 8, 1, 1], 0.1);
    x = relu(g.node('Add', [g.node('Conv', [x, normal(g, 'bare', [8, 8, 3, 3], 0.2)], same), bias]));
    x = g.node('Flatten', [g.node('GlobalAveragePool', [x])]);
    x = relu(g.node('MatMul', [x, g.node('Transpose', [normal(g, 'turned', [12, 8], 0.3)], { perm: [1, 0] })]));
    x = relu(g.node('MatMul', [x, g.node('Abs', [normal(g, 'positive', [12, 10], 0.3)])]));
    g.output(g.node('Gemm', [x, normal(g, 'head', [4, 10], 0.3), normal(g, 'head.bias', [4], 0.1)], { transB: 1 }), [
      'N',
      4,
    ]);
    const folder = scratch();
    const model = join(folder, 'ways.onnx');
    writeModel(g.model(), model);
    const out = join(folder, 'run');
    const result = (await prune({ ...settings, model, out })) as PruneResult;
    const [before, after] = [constants(model), constants(join(out, 'trained.onnx'))];
    const { frozen, tensors } = result.trained;
    const changed = [...before]
      .filter(([name, values]) => !after.get(name)!.every((value, i) => value === values[i]))
      .map(([name]) => name);
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
    expect([...changed, ...frozen].sort()).toEqual([...before.keys()].sort());
    expect(tensors).toBe(changed.length);
    for (const name of ['plain', 'plain.bias', 'bare', 'renamed', 'turned', 'head', 'head.bias'])
      expect(changed).toContain(name);
  });

  test('a file without anything to train is an error', async () => {
    const g = new GraphBuilder({ name: 'nothing' });
    const pooled = g.node('GlobalAveragePool', [g.input('X', ['N', 3, 8, 8])]);
    g.output(g.node('Flatten', [pooled]), ['N', 3]);
    const folder = scratch();
    const model = join(folder, 'nothing.onnx');
    writeModel(g.model(), model);
    const error = await refusal(
      prune({ ...settings, data: data.replace('classes=4', 'classes=3'), model, out: join(folder, 'run') }),
    );
    expect(error.code).toMatch(/^E_NOTHING_TO/);
  });
});
