import { beforeAll, describe, expect, test } from 'vitest';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { stream } from '../../src/util/random.ts';
import { relativeError, sizeOf } from '../torch/fill.ts';
import { type Differentiable, hasGradients } from './central-differences.ts';
import { forward, type NodeUnderTest } from './node.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

const conv = (x: number[], w: number[], attributes: NodeUnderTest['attributes'] = {}, bias = true): Differentiable => ({
  op: 'Conv',
  inputs: bias ? [x, w, [w[0]]] : [x, w],
  attributes,
});

const nodes: Readonly<Record<string, Differentiable>> = {
  'Conv 3x3': conv([2, 3, 5, 6], [4, 3, 3, 3], { pads: [1, 1, 1, 1] }),
  'Conv without bias': conv([2, 3, 5, 5], [4, 3, 2, 3], {}, false),
  'Conv strides 2, 3': conv([2, 3, 7, 8], [4, 3, 3, 3], { strides: [2, 3], pads: [1, 1, 1, 1] }),
  'Conv dilated': conv([1, 2, 8, 9], [3, 2, 3, 3], { dilations: [2, 3], pads: [1, 2, 1, 2] }),
  'Conv in 2 groups': conv([2, 4, 5, 5], [6, 2, 3, 3], { group: 2, pads: [1, 1, 1, 1] }),
  'Conv depthwise, strided': conv([2, 3, 6, 6], [3, 1, 3, 3], { group: 3, strides: [2, 2], pads: [1, 1, 1, 1] }),
  'Conv depthwise with multiplier 2': conv([2, 3, 5, 5], [6, 1, 3, 3], { group: 3 }),
  'Conv asymmetric pads': conv([2, 2, 5, 6], [3, 2, 3, 3], { pads: [0, 2, 1, 0] }),
  'Conv SAME_UPPER': conv([2, 2, 5, 6], [3, 2, 2, 3], { auto_pad: 'SAME_UPPER', strides: [2, 2] }),
  'Conv SAME_LOWER': conv([2, 2, 5, 6], [3, 2, 2, 3], { auto_pad: 'SAME_LOWER', strides: [2, 2] }),
  'Conv VALID': conv([2, 2, 5, 6], [3, 2, 2, 3], { auto_pad: 'VALID' }),
  'Conv strided 1x1': conv([2, 3, 5, 6], [4, 3, 1, 1], { strides: [2, 2] }),
  'Conv strided 1x1 with pads': conv([2, 3, 5, 6], [4, 3, 1, 1], { strides: [2, 2], pads: [1, 0, 0, 1] }),
  'Conv strided 1x1 in groups': conv([2, 4, 5, 6], [4, 2, 1, 1], { strides: [2, 1], group: 2 }),
  'Conv 1-D': conv([2, 3, 9], [4, 3, 3], { strides: [2], pads: [1, 0] }),
  'Conv 3-D': conv([1, 2, 4, 4, 4], [2, 2, 2, 2, 2]),
  'BatchNormalization in training': {
    op: 'BatchNormalization',
    inputs: [[3, 4, 2, 3], [4], [4], [4], [4]],
    training: true,
  },
  'BatchNormalization after training': {
    op: 'BatchNormalization',
    inputs: [[3, 4, 2, 3], [4], [4], [4], [4]],
  },
  'MaxPool, overlapping': {
    op: 'MaxPool',
    inputs: [[2, 2, 6, 7]],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
  },
  'MaxPool, uneven pads, rounded up': {
    op: 'MaxPool',
    inputs: [[2, 2, 6, 7]],
    attributes: { kernel_shape: [2, 3], strides: [2, 2], pads: [0, 1, 1, 0], ceil_mode: 1 },
  },
  'AveragePool, pads not counted': {
    op: 'AveragePool',
    inputs: [[2, 2, 6, 7]],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
  },
  'AveragePool, uneven pads, counted': {
    op: 'AveragePool',
    inputs: [[2, 2, 6, 7]],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [0, 1, 1, 0], count_include_pad: 1 },
  },
  'AveragePool, uneven pads, not counted, rounded up': {
    op: 'AveragePool',
    inputs: [[2, 2, 6, 7]],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [0, 1, 1, 0], ceil_mode: 1 },
  },
  GlobalAveragePool: { op: 'GlobalAveragePool', inputs: [[2, 3, 4, 5]] },
  GlobalMaxPool: { op: 'GlobalMaxPool', inputs: [[2, 3, 4, 5]] },
  'Gemm as linear': { op: 'Gemm', inputs: [[3, 4], [5, 4], [5]], attributes: { transB: 1 } },
  'Gemm with everything': {
    op: 'Gemm',
    inputs: [
      [4, 3],
      [5, 4],
      [3, 1],
    ],
    attributes: { transA: 1, transB: 1, alpha: 0.5, beta: 2.5 },
  },
  'Gemm without bias': {
    op: 'Gemm',
    inputs: [
      [3, 4],
      [4, 5],
    ],
    attributes: { alpha: 0.5 },
  },
  MatMul: {
    op: 'MatMul',
    inputs: [
      [3, 4],
      [4, 5],
    ],
  },
  'MatMul, batched and broadcast': {
    op: 'MatMul',
    inputs: [
      [2, 1, 3, 4],
      [3, 4, 2],
    ],
  },
  'MatMul of a vector': { op: 'MatMul', inputs: [[4], [2, 4, 3]] },
  Add: {
    op: 'Add',
    inputs: [
      [2, 3, 4],
      [3, 1],
    ],
  },
  Mul: { op: 'Mul', inputs: [[2, 3, 4], [4]] },
  Softmax: { op: 'Softmax', inputs: [[2, 3, 4]], attributes: { axis: 1 } },
  'Softmax of opset 11': { op: 'Softmax', inputs: [[2, 3, 4]], opset: 11 },
  Concat: {
    op: 'Concat',
    inputs: [
      [2, 3, 2],
      [2, 1, 2],
    ],
    attributes: { axis: 1 },
  },
  PRelu: {
    op: 'PRelu',
    inputs: [
      [2, 3, 4],
      [3, 1],
    ],
  },
  HardSigmoid: { op: 'HardSigmoid', inputs: [[2, 3, 4]], attributes: { alpha: 0.15 } },
  ReduceMean: { op: 'ReduceMean', inputs: [[2, 3, 4]], attributes: { axes: [-1, 1], keepdims: 0 } },
};

hasGradients(nodes);

// oneDNN corrupts memory in the weight gradient of a strided 1x1 convolution in channels_last at few input channels.
describe('a strided 1x1 Conv in channels_last is right at every width', () => {
  test.each(Array.from({ length: 33 }, (_, i) => i + 1))('%i', width => {
    const random = stream(5, 'strided', width);
    const node: NodeUnderTest = {
      op: 'Conv',
      inputs: [['N', width, 7, 9], [width + 3, width, 1, 1], [width + 3]],
      attributes: { strides: [2, 2] },
    };
    const shapes = [[4, width, 7, 9], [width + 3, width, 1, 1], [width + 3], [4, width + 3, 4, 5]];
    const [x, w, b, seed] = shapes.map(shape => Float32Array.from({ length: sizeOf(shape) }, random.normal));
    torch.scope(() => {
      const results = [true, false].map(single => {
        const make = (data: Float32Array, i: number) => {
          const tensor = torch.tensor(single ? data : Float64Array.from(data), shapes[i]);
          return single ? torch.detach(torch.channelsLast(tensor)) : tensor;
        };
        const inputs = [x, w, b].map((data, i) => torch.requiresGrad(make(data, i)));
        const [y] = single
          ? forward(torch, node, inputs)
          : [torch.op('convolution')(...inputs, [2, 2], [0, 0], [1, 1], false, [0, 0], 1)];
        return [y, ...torch.grad(y, inputs, { outputsGrad: [make(seed, 3)] })].map(found => torch.values(found!));
      });
      results[0].forEach((found, i) => {
        expect(relativeError(found, results[1][i])).toBeLessThan(1e-5);
      });
    });
  });
});
