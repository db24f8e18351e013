import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Batch } from '../../src/data/dataset.ts';
import { buildGraph } from '../../src/graph/graph.ts';
import { attributesOf, floats, GraphBuilder, type OnnxModel, tensorOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { openModel } from '../../src/runtime/session.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { createNetwork } from '../../src/train/network.ts';
import { withNormalisation } from '../../src/train/renormalised.ts';
import { stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});
afterAll(() => torch.setThreads(1));

const numbers = (key: string, n: number, scale = 1) => {
  const random = stream(3, key);
  return Float32Array.from({ length: n }, () => scale * random.normal());
};

/** Two convolutions with bias and one without, one weight in a Constant node, a residual, a head after pooling. */
function folded(): OnnxModel {
  const g = new GraphBuilder({ name: 'folded' });
  const pads = { pads: [1, 1, 1, 1] };
  const x = g.input('x', ['N', 3, 8, 8]);
  const a = g.node(
    'Conv',
    [
      x,
      g.initializer('a.weight', numbers('a', 6 * 27, 5), [6, 3, 3, 3]),
      g.initializer('a.bias', numbers('ab', 6), [6]),
    ],
    pads,
  );
  const r = g.node('Relu', [a]);
  const weight = g.node('Constant', [], { value: tensorOf('', numbers('b', 6 * 54, 0.01), [6, 6, 3, 3]) });
  const b = g.node('Conv', [r, weight, g.initializer('b.bias', numbers('bb', 6), [6])], pads);
  const sum = g.node('Add', [r, b]);
  const c = g.node('Conv', [sum, g.initializer('c.weight', numbers('c', 4 * 54), [4, 6, 3, 3])], pads);
  const pooled = g.node('GlobalAveragePool', [g.node('Relu', [c])]);
  const head = g.node('Conv', [pooled, g.initializer('head.weight', numbers('h', 20), [5, 4, 1, 1])]);
  g.output(g.node('Flatten', [head]), ['N', 5]);
  return g.model();
}

const batch = (key: string): Batch => ({
  images: numbers(key, 16 * 3 * 64),
  shape: [16, 3, 8, 8],
  labels: new Int32Array(16),
  indices: new Int32Array(16),
});

const answers = (model: OnnxModel, { images, shape }: Batch): Float32Array =>
  torch.scope(() => torch.values(createNetwork(torch, model).dense(torch.tensor(images, shape), false)[0]));

function expectClose(actual: ArrayLike<number>, wanted: ArrayLike<number>): void {
  const scale = Math.max(...Array.from(wanted, Math.abs));
  for (let i = 0; i < wanted.length; i++) expect(Math.abs(actual[i] - wanted[i]) / scale).toBeLessThan(1e-5);
}

test('Convolutions before the head carry a normalisation that changes nothing in evaluation mode', () => {
  const model = folded();
  const found = withNormalisation(torch, model, [batch('1'), batch('2')])!;
  expect(found.convolutions).toBe(3);
  expectClose(answers(found.model, batch('3')), answers(model, batch('3')));
});

test('How far it is from the file is measured on the first batch, in both modes', () => {
  const model = folded();
  const { model: changed, differs } = withNormalisation(torch, model, [batch('1'), batch('2')])!;
  const { images, shape } = batch('1');
  const trained = torch.scope(() =>
    torch.values(createNetwork(torch, changed).dense(torch.tensor(images, shape), true)[0]),
  );
  const wanted = answers(model, batch('1'));
  expect(differs.evaluation).toBeLessThan(1e-5);
  expect(differs.training).toBeCloseTo(Math.hypot(...trained.map((y, i) => y - wanted[i])) / Math.hypot(...wanted), 4);
  // Two batches have other statistics than the first of them.
  expect(differs.training).toBeGreaterThan(0.001);
});

test('No tensor is left of what it is measured with', () => {
  const before = torch.liveTensors();
  withNormalisation(torch, folded(), [batch('1')]);
  expect(torch.liveTensors()).toBe(before);
});

test('Behind it a channel has the mean and variance of the images that it was measured on', () => {
  const only = batch('1');
  const found = withNormalisation(torch, folded(), [only])!;
  const [evaluated, trained] = torch.scope(() => {
    const network = createNetwork(torch, found.model);
    const x = torch.tensor(only.images, only.shape);
    return [network.dense(x, false), network.dense(x, true)].map(([y]) => torch.values(y));
  });
  expectClose(trained, evaluated);
});

test('Folded back, the file has its own names again and computes what was trained, by ONNX Runtime', async () => {
  const model = folded();
  const found = withNormalisation(torch, model, [batch('1')])!;
  const network = createNetwork(torch, found.model);
  torch.scope(() => {
    for (const [i, parameter] of network.parameters.entries()) {
      const values = torch.values(parameter);
      torch.noGrad(() =>
        torch.write(
          parameter,
          values.map((v, k) => v * (1 + 0.1 * Math.sin(i + k))),
        ),
      );
    }
  });
  const back = found.fold(network.exported('soft'));
  expect(back.graph.nodes.map(node => [node.name, node.opType, [...node.output]])).toEqual(
    model.graph.nodes.map(node => [node.name, node.opType, [...node.output]]),
  );
  expect(back.graph.initializers.map(({ name }) => name)).toEqual([
    ...model.graph.initializers.map(({ name }) => name),
    'c.weight/bias',
  ]);
  const { images, shape } = batch('4');
  const wanted = torch.scope(() => torch.values(network.dense(torch.tensor(images, shape), false)[0]));
  const session = await openModel(back);
  const [result] = Object.values(await session.run({ x: { type: 'float32', data: images, shape } }));
  await session.dispose();
  expectClose(result.data as Float32Array, wanted);
});

test('Filters come to the norm of a fresh network, so that a step turns them all alike', () => {
  const found = withNormalisation(torch, folded(), [batch('1')])!;
  const graph = buildGraph(found.model, operators);
  for (const node of graph.nodes.filter(({ opType }) => opType === 'Conv')) {
    if (attributesOf(node.proto).get('pads') === undefined) continue;
    const weight = graph.tensors.get(node.inputs[1])!;
    const values = floats(weight);
    const length = values.length / weight.dims[0];
    for (let row = 0; row < weight.dims[0]; row++) {
      expect(Math.hypot(...values.subarray(row * length, (row + 1) * length))).toBeCloseTo(Math.SQRT2, 4);
    }
  }
});

test('A network that has a normalisation stays as it is', () => {
  const model = buildNetwork('resnet8', { classes: 4, channels: 3, size: [8, 8], seed: 1, width: 4 });
  expect(withNormalisation(torch, model, [batch('1')])).toBeNull();
});

test('So does one that normalises step by step', () => {
  const g = new GraphBuilder({ name: 'written out' });
  const x = g.input('x', ['N', 3, 8, 8]);
  const patches = g.node('Conv', [x, g.initializer('w', numbers('p', 6 * 12), [6, 3, 2, 2])], { strides: [2, 2] });
  const centred = g.node('Sub', [patches, g.node('ReduceMean', [patches], { axes: [1] })]);
  const variance = g.node('ReduceMean', [g.node('Mul', [centred, centred])], { axes: [1] });
  const padded = g.node('Add', [variance, g.initializer('epsilon', Float32Array.of(1e-5), [])]);
  const normed = g.node('Div', [centred, g.node('Sqrt', [padded])]);
  const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [normed])]);
  g.output(g.node('Gemm', [pooled, g.initializer('head', numbers('h', 30), [6, 5])]), ['N', 5]);
  expect(withNormalisation(torch, g.model(), [batch('1')])).toBeNull();
});
