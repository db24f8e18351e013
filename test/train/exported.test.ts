import { beforeAll, describe, expect, test } from 'vitest';
import type { Tensor } from '../../src/graph/engine.ts';
import { buildGraph } from '../../src/graph/graph.ts';
import { attributesOf, floats, type OnnxModel, type OnnxTensor, shapeOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { openModel } from '../../src/runtime/session.ts';
import type { Torch } from '../../src/torch/index.ts';
import { createNetwork, type Network } from '../../src/train/network.ts';
import { classification } from '../../src/train/objective.ts';
import { expectClose } from './close.ts';
import { plainEngine } from './engine.ts';
import { Builder, examples } from './networks.ts';
import { normals, stream } from './random.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await plainEngine();
});

const images = (batch: number, input: readonly number[], seed = 1): Float32Array =>
  Float32Array.from(normals(stream(seed, 'exported'), batch * input.reduce((a, b) => a * b, 1)));

/** A few plain gradient steps of the soft and the hard view, so that nothing is as it was. */
function train(network: Network, input: readonly number[], steps = 3, batch = 6): void {
  for (let i = 0; i < steps; i++) {
    torch.scope(() => {
      const x = torch.tensor(images(batch, input, i), [batch, ...input]);
      const labels = torch.tensor(
        BigInt64Array.from({ length: batch }, (_, at) => BigInt(at % 5)),
        [batch],
      );
      const loss = (outputs: Tensor[]) => classification(torch).loss(outputs, { labels, teacher: null });
      network.hard(x, true);
      const gradients = torch.grad(loss(network.soft(x, true)), network.parameters);
      torch.noGrad(() => {
        gradients.forEach((g, at) => {
          if (g) torch.op('sub_.Tensor')(network.parameters[at], g, 0.05);
        });
      });
    });
  }
}

/** What a view computes in evaluation mode. */
const evaluated = (network: Network, view: 'soft' | 'hard', x: Float32Array, shape: readonly number[]): Float32Array =>
  torch.scope(() => torch.values(network[view](torch.tensor(x, shape), false)[0]));

async function runtimeOutput(model: OnnxModel, x: Float32Array, shape: readonly number[]): Promise<Float32Array> {
  const session = await openModel(model, {}, 'exported');
  try {
    const results = await session.run({ [session.inputs[0].name]: { type: 'float32', data: x, shape } });
    return results[session.outputs[0].name].data as Float32Array;
  } finally {
    await session.dispose();
  }
}

/** Constants of a file by name, those of Constant nodes under their output's. */
function constants(model: OnnxModel): Map<string, OnnxTensor> {
  const nodes = model.graph.nodes.filter(node => node.opType === 'Constant');
  return new Map([
    ...model.graph.initializers.map(tensor => [tensor.name, tensor] as const),
    ...nodes.map(node => [node.output[0], attributesOf(node).get('value') as OnnxTensor] as const),
  ]);
}

describe.each(['resnet8, padded shortcuts', 'depthwise and grouped convolutions', 'constants that are no parameters'])(
  '%s',
  name => {
    test('the file has the trained parameters and one view’s statistics, and ONNX Runtime agrees with that view', async () => {
      const { model, input } = examples[name]();
      const network = createNetwork(torch, model);
      train(network, input);
      const x = images(4, input, 9);
      for (const view of ['soft', 'hard'] as const) {
        const file = network.exported(view);
        expect(file.graph.initializers.map(({ name, dims, dataType }) => ({ name, dims, dataType }))).toEqual(
          model.graph.initializers.map(({ name, dims, dataType }) => ({ name, dims, dataType })),
        );
        for (const [parameter, tensor] of constants(file)) {
          const at = network.names.indexOf(parameter);
          const own = at >= 0 ? network.parameters[at] : network.statistics[view].get(parameter);
          if (own) expect(floats(tensor), parameter).toEqual(torch.values(own));
          else expect(tensor).toBe(constants(model).get(parameter));
        }
        const expected = evaluated(network, view, x, [4, ...input]);
        expectClose(await runtimeOutput(file, x, [4, ...input]), expected, view, 1e-5);
        expectClose(
          evaluated(createNetwork(torch, file), 'soft', x, [4, ...input]),
          expected,
          `${view}, read again`,
          1e-6,
        );
      }
    });

    test('cut to the kept channels it is the hard network', async () => {
      const { model, input } = examples[name]();
      const network = createNetwork(torch, model);
      train(network, input, 2);
      const kept = network.coupling.groups.map(({ size }) =>
        Array.from({ length: size }, (_, i) => i).filter(i => i % 3 > 0 || i === size - 1),
      );
      network.setKept(kept);
      train(network, input, 2);
      const coupling = coupleGraph(buildGraph(network.exported('hard'), operators));
      expect(coupling.groups.map(group => [group.name, group.size])).toEqual(
        network.coupling.groups.map(group => [group.name, group.size]),
      );
      const x = images(4, input, 9);
      expectClose(
        await runtimeOutput(cutModel(coupling, kept), x, [4, ...input]),
        evaluated(network, 'hard', x, [4, ...input]),
        name,
        1e-5,
      );
    });
  },
);

test('channels that the hard view has not run with yet are exported with the soft view’s statistics', () => {
  const { model, input } = examples['resnet8, projected shortcuts']();
  const network = createNetwork(torch, model);
  network.setKept(network.coupling.groups.map(() => [0]));
  train(network, input, 2);
  network.setKept(network.coupling.groups.map(({ size }) => Array.from({ length: size }, (_, i) => i)));
  const [soft, hard] = (['soft', 'hard'] as const).map(view => constants(network.exported(view)));
  for (const buffer of network.statistics.soft.keys()) {
    expect(floats(hard.get(buffer)!).subarray(1), buffer).toEqual(floats(soft.get(buffer)!).subarray(1));
  }
});

describe('a file that ends in a Softmax', () => {
  test.each(['Softmax', 'LogSoftmax'])('%s: training looks at the logits, the file keeps it', async last => {
    const b = new Builder([3, 6, 6]);
    const x = b.node('Relu', [b.norm(b.conv('x', 'a', [8, 3, 3, 3]), 'a.bn', 8)]);
    const pooled = b.node('Flatten', [b.node('GlobalAveragePool', [x])]);
    const logits = b.node('Gemm', [pooled, b.constant('fc.weight', [8, 5], 2)]);
    const { model, input } = b.finish(b.graph.node(last, [logits], { axis: 1 }, { output: 'probabilities' }));
    const network = createNetwork(torch, model);
    train(network, input);
    const images4 = images(4, input, 9);
    const own = evaluated(network, 'soft', images4, [4, ...input]);
    const file = network.exported('soft');
    expect(file.graph.nodes.map(node => node.opType)).toEqual(model.graph.nodes.map(node => node.opType));
    const expected = torch.scope(() =>
      torch.values(torch.op(last === 'Softmax' ? 'softmax.int' : 'log_softmax.int')(torch.tensor(own, [4, 5]), 1)),
    );
    expectClose(await runtimeOutput(file, images4, [4, ...input]), expected, last, 1e-5);
  });
});

describe('a file that was exported for batches of 1', () => {
  const strided = (b: Builder, x: string, name: string, dims: number[]) =>
    b.node('Relu', [
      b.graph.node('Conv', [x, b.constant(`${name}.weight`, dims, 0.3), b.constant(`${name}.bias`, [dims[0]], 0.1)], {
        pads: [1, 1, 1, 1],
        strides: [2, 2],
      }),
    ]);
  const trunk = (b: Builder) => strided(b, strided(b, 'x', 'a', [8, 1, 3, 3]), 'b', [16, 8, 3, 3]);
  const files = {
    'Reshape to [1, 784]'() {
      const b = new Builder([1, 28, 28], 1);
      return b.linear(b.node('Reshape', [trunk(b), b.ints('target', [1, 784])]), 784);
    },
    'Reshape, Transpose, ReduceMean'() {
      const b = new Builder([1, 28, 28], 1);
      const rows = b.node('Transpose', [b.node('Reshape', [trunk(b), b.ints('target', [1, 16, 49])])], {
        perm: [0, 2, 1],
      });
      return b.linear(b.node('ReduceMean', [rows], { axes: [1], keepdims: 0 }), 16);
    },
    'Reshape to [-1, 784]'() {
      const b = new Builder([1, 28, 28], 1);
      return b.linear(b.node('Reshape', [trunk(b), b.ints('target', [-1, 784])]), 784);
    },
    Flatten() {
      const b = new Builder([1, 28, 28], 1);
      return b.linear(b.node('Flatten', [trunk(b)]), 784);
    },
  };

  test.each(Object.entries(files))('%s: trains with 6 images and is handed back with 1', async (_, make) => {
    const { model, input } = make();
    const network = createNetwork(torch, model);
    const before = constants(model);
    train(network, input);
    const kept = network.coupling.groups.map(({ size }) =>
      Array.from({ length: size }, (_, i) => i).filter(i => i % 2 === 0),
    );
    network.setKept(kept);
    train(network, input);
    const file = network.exported('hard');
    expect(shapeOf(file.graph.inputs[0])).toEqual([1, ...input]);
    for (const name of network.names)
      expect(floats(constants(file).get(name)!), name).not.toEqual(floats(before.get(name)!));
    const x = images(6, input, 9);
    const hard = evaluated(network, 'hard', x, [6, ...input]);
    const coupling = coupleGraph(buildGraph(file, operators));
    const length = x.length / 6;
    for (const i of [0, 5]) {
      const one = await runtimeOutput(cutModel(coupling, kept), x.slice(i * length, (i + 1) * length), [1, ...input]);
      expectClose(one, hard.subarray(i * 5, (i + 1) * 5), `image ${i}`, 1e-5);
    }
  });

  test('where a Reshape holds the batch, an error names it', () => {
    const b = new Builder([1, 28, 28], 1);
    const rows = b.graph.node('Reshape', [trunk(b), b.ints('target', [16, 49])], {}, { name: 'fold' });
    const pooled = b.node('ReduceMean', [rows], { axes: [1], keepdims: 0 });
    const { model } = b.linear(b.node('Reshape', [pooled, b.ints('again', [1, 16])]), 16);
    expect(() => createNetwork(torch, model)).toThrow(
      expect.objectContaining({ code: 'E_FIXED_BATCH', message: expect.stringContaining("'fold'") }),
    );
  });
});

describe('how a weight reaches its operator', () => {
  /** Weights as initializer, Constant node, and through Identity, Transpose and Abs; biases of their own. */
  function make() {
    const b = new Builder([3, 6, 6]);
    const values = b.constant('unused', [6, 8, 3, 3], 0.3);
    const value = { ...b.graph.graph().initializers.find(tensor => tensor.name === values)!, name: '' };
    const constant = b.graph.node('Constant', [], { value }, { output: 'constant.weight' });
    const convolve = (x: string, weight: string) => b.node('Conv', [x, weight], { pads: [1, 1, 1, 1] });
    let x = b.node('Relu', [b.conv('x', 'plain', [8, 3, 3, 3], { bias: true })]);
    x = b.node('Relu', [b.node('Add', [convolve(x, constant), b.constant('added.bias', [1, 6, 1, 1], 0.3)])]);
    x = b.node('Relu', [convolve(x, b.node('Identity', [b.constant('identity.weight', [7, 6, 3, 3], 0.3)]))]);
    x = b.node('Flatten', [b.node('GlobalAveragePool', [x])]);
    const turned = b.node('Transpose', [b.constant('transposed.weight', [9, 7], 0.4)], { perm: [1, 0] });
    x = b.node('Relu', [b.node('Add', [b.node('MatMul', [x, turned]), b.constant('matmul.bias', [9], 0.2)])]);
    const positive = b.node('Abs', [b.constant('monotone.weight', [9, 5], 0.4)]);
    return b.finish(b.graph.node('Gemm', [x, positive, b.constant('fc.bias', [5], 0.1)], {}, { output: 'logits' }));
  }
  const trained = [
    ...['plain.weight', 'plain.bias', 'constant.weight', 'added.bias', 'identity.weight'],
    ...['transposed.weight', 'matmul.bias', 'monotone.weight', 'fc.bias'],
  ];

  test('every one is trained, and written back under its name', async () => {
    const { model, input } = make();
    const network = createNetwork(torch, model);
    expect(network.names.toSorted()).toEqual(trained.toSorted());
    train(network, input, 20);
    const file = network.exported('soft');
    const [before, after] = [constants(model), constants(file)];
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const name of trained) expect(floats(after.get(name)!), name).not.toEqual(floats(before.get(name)!));
    expect(after.get('unused')).toBe(before.get('unused'));
    const x = images(4, input, 9);
    expectClose(
      await runtimeOutput(file, x, [4, ...input]),
      evaluated(network, 'soft', x, [4, ...input]),
      'ONNX Runtime',
      1e-5,
    );
  });

  test('and cut with its channels', async () => {
    const { model, input } = make();
    const network = createNetwork(torch, model);
    const kept = network.coupling.groups.map(({ size }) => Array.from({ length: size - 2 }, (_, i) => i + 1));
    network.setKept(kept);
    train(network, input);
    const coupling = coupleGraph(buildGraph(network.exported('hard'), operators));
    expect(coupling.groups.map(group => group.size)).toEqual([8, 6, 7, 9]);
    const x = images(4, input, 9);
    expectClose(
      await runtimeOutput(cutModel(coupling, kept), x, [4, ...input]),
      evaluated(network, 'hard', x, [4, ...input]),
      'cut',
      1e-5,
    );
  });

  test('a constant that a caller may replace stays as it is', () => {
    const b = new Builder([3, 6, 6]);
    const x = b.node('Relu', [b.conv('x', 'a', [8, 3, 3, 3])]);
    const example = b.head(b.node('Relu', [b.conv(x, 'b', [6, 8, 3, 3])]), 6);
    const weight = example.model.graph.initializers.find(tensor => tensor.name === 'b.weight')!;
    b.graph.input('b.weight', weight.dims);
    const network = createNetwork(torch, b.graph.model());
    expect(network.names).not.toContain('b.weight');
    train(network, example.input);
    expect(constants(network.exported('soft')).get('b.weight')).toBe(weight);
  });
});

describe('files that cannot be trained', () => {
  test('nothing in them is a parameter', () => {
    const b = new Builder([5, 6, 6]);
    const { model } = b.finish(
      b.graph.node('Flatten', [b.node('GlobalAveragePool', [b.node('Relu', ['x'])])], {}, { output: 'logits' }),
    );
    expect(() => createNetwork(torch, model)).toThrow(expect.objectContaining({ code: 'E_NOTHING_TO_TRAIN' }));
  });

  test('two inputs', () => {
    const b = new Builder([3, 6, 6]);
    b.graph.input('second', ['N', 3, 6, 6]);
    const { model } = b.head(b.conv(b.node('Add', ['x', 'second']), 'a', [4, 3, 3, 3]), 4);
    expect(() => createNetwork(torch, model)).toThrow(
      expect.objectContaining({ code: 'E_INPUTS', message: expect.stringContaining('second') }),
    );
  });

  test('an operator without a rule', () => {
    const b = new Builder([3, 6, 6]);
    const { model } = b.head(
      b.graph.node('Unknown', [b.conv('x', 'a', [4, 3, 3, 3])], {}, { name: 'odd', domain: 'test' }),
      4,
    );
    expect(() => createNetwork(torch, model)).toThrow(
      expect.objectContaining({ code: 'E_NO_FORWARD', message: expect.stringContaining("'odd'") }),
    );
  });
});
