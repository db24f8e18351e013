import { beforeAll, describe, expect, test } from 'vitest';
import { DataType, float, tensorOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { stream } from '../../src/util/random.ts';
import { sizeOf } from '../torch/fill.ts';
import { forward, type NodeUnderTest, nodeGraph } from './node.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

const image = [2, 4, 4, 4];
const constant = (...dims: number[]) =>
  tensorOf(
    '',
    Float32Array.from({ length: sizeOf(dims) }, (_, i) => i + 1),
    dims,
  );
const ints = (...values: number[]) => tensorOf('', BigInt64Array.from(values, BigInt), [values.length]);
const condition = tensorOf('', [1, 0, 1, 0], [4, 1, 1], DataType.BOOL);
const vector = (...values: number[]) => tensorOf('', Float32Array.from(values), [values.length]);
const scalar = (value: number) => tensorOf('', Float32Array.of(value), []);
const pool = { kernel_shape: [2, 2], strides: [2, 2] };

/** Nodes whose channel 1 of axis 1 goes with channel 1 of what they give. */
const nodes: readonly NodeUnderTest[] = [
  ...[
    'Relu',
    'Tanh',
    'Sigmoid',
    'Softplus',
    'HardSwish',
    'Mish',
    'Erf',
    'Abs',
    'Neg',
    'Exp',
    'Floor',
    'Ceil',
    'Sign',
  ].map(op => ({ op, inputs: [image], opset: op === 'Mish' ? 18 : 17 })),
  ...['LeakyRelu', 'Elu', 'Celu', 'Selu', 'Identity', 'Dropout'].map(op => ({ op, inputs: [image] })),
  { op: 'HardSigmoid', inputs: [image] },
  { op: 'PRelu', inputs: [image, constant(4, 1, 1)] },
  { op: 'Split', inputs: [image], attributes: { axis: 2 }, outputs: 2 },
  { op: 'Sqrt', inputs: [image] },
  { op: 'Reciprocal', inputs: [image] },
  { op: 'Log', inputs: [image] },
  { op: 'Clip', inputs: [image, scalar(0), scalar(6)] },
  { op: 'Clip', inputs: [image, scalar(1), scalar(6)] },
  { op: 'Clip', inputs: [image, scalar(-6), scalar(-1)] },
  { op: 'Clip', inputs: [image], attributes: { min: float(0.5) }, opset: 6 },
  { op: 'Clip', inputs: [image] },
  { op: 'Cast', inputs: [image], attributes: { to: DataType.FLOAT } },
  { op: 'MaxPool', inputs: [image], attributes: pool },
  { op: 'AveragePool', inputs: [image], attributes: pool },
  { op: 'GlobalAveragePool', inputs: [image] },
  { op: 'GlobalMaxPool', inputs: [image] },
  { op: 'Add', inputs: [image, image] },
  { op: 'Add', inputs: [image, constant(4, 1, 1)] },
  { op: 'Sub', inputs: [image, image] },
  { op: 'Mul', inputs: [image, image] },
  { op: 'Mul', inputs: [image, constant(4, 1, 1)] },
  { op: 'Div', inputs: [image, constant(4, 1, 1)] },
  { op: 'Div', inputs: [constant(4, 1, 1), image] },
  { op: 'Pow', inputs: [image, scalar(2)] },
  { op: 'Pow', inputs: [image, scalar(0)] },
  { op: 'Max', inputs: [image, image] },
  { op: 'Max', inputs: [image, constant(4, 1, 1)] },
  { op: 'Min', inputs: [image, image] },
  { op: 'Sum', inputs: [image, image, image] },
  { op: 'BatchNormalization', inputs: [image, constant(4), constant(4), constant(4), constant(4)] },
  { op: 'Conv', inputs: [image, constant(4, 1, 3, 3)], attributes: { group: 4 } },
  { op: 'Conv', inputs: [image, constant(4, 1, 3, 3), constant(4)], attributes: { group: 4 } },
  { op: 'Pad', inputs: [image, ints(0, 0, 1, 1, 0, 0, 1, 1)] },
  { op: 'Pad', inputs: [image, ints(0, 0, 1, 1, 0, 0, 1, 1), scalar(1)] },
  { op: 'Pad', inputs: [image, ints(0, 0, 1, 1, 0, 0, 1, 1)], attributes: { mode: 'reflect' } },
  { op: 'Slice', inputs: [image, ints(1), ints(3), ints(2)] },
  { op: 'Softmax', inputs: [image], attributes: { axis: -1 } },
  { op: 'ReduceMean', inputs: [image], attributes: { axes: [2, 3] } },
  { op: 'ReduceSum', inputs: [image, ints(2)] },
  { op: 'Reshape', inputs: [image, ints(2, 4, 16)] },
  { op: 'Unsqueeze', inputs: [image, ints(-1)] },
  ...['Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh', 'Round', 'Softsign'].map(
    op => ({ op, inputs: [image] }),
  ),
  ...['IsNaN', 'IsInf', 'Not', 'ThresholdedRelu', 'Shrink', 'Hardmax', 'LpNormalization'].map(op => ({
    op,
    inputs: [image],
  })),
  { op: 'Shrink', inputs: [image], attributes: { lambd: float(-1), bias: float(0.5) } },
  { op: 'ThresholdedRelu', inputs: [image], attributes: { alpha: float(-1) } },
  { op: 'Gelu', inputs: [image], opset: 20 },
  { op: 'Gelu', inputs: [image], domain: 'com.microsoft' },
  { op: 'QuickGelu', inputs: [image], domain: 'com.microsoft' },
  { op: 'Swish', inputs: [image], opset: 24 },
  { op: 'SwiGLU', inputs: [image, image], opset: 28 },
  ...['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'And', 'Or', 'Xor', 'Mod', 'Mean'].flatMap(op => [
    { op, inputs: [image, image] },
    { op, inputs: [image, constant(4, 1, 1)] },
    { op, inputs: [constant(4, 1, 1), image] },
  ]),
  { op: 'CumSum', inputs: [image, ints(2)] },
  { op: 'CumProd', inputs: [image, ints(2)], opset: 26 },
  { op: 'CumProd', inputs: [image, ints(2)], attributes: { exclusive: 1 }, opset: 26 },
  { op: 'Where', inputs: [condition, image, image] },
  { op: 'Where', inputs: [condition, image, scalar(0)] },
  { op: 'Where', inputs: [condition, image, scalar(2)] },
  { op: 'Where', inputs: [scalar(0), image, constant(4, 1, 1)] },
  { op: 'LayerNormalization', inputs: [image, constant(4)] },
  { op: 'LayerNormalization', inputs: [image, constant(4), constant(4)] },
  { op: 'RMSNormalization', inputs: [image, constant(4)], opset: 23 },
  { op: 'SimplifiedLayerNormalization', inputs: [image, constant(4)] },
  { op: 'SkipLayerNormalization', inputs: [image, image, constant(4), constant(4)], domain: 'com.microsoft' },
  { op: 'SkipSimplifiedLayerNormalization', inputs: [image, image, constant(4)], domain: 'com.microsoft' },
  { op: 'InstanceNormalization', inputs: [image, constant(4), constant(4)] },
  { op: 'GroupNormalization', inputs: [image, constant(4), constant(4)], attributes: { num_groups: 4 }, opset: 21 },
  { op: 'LRN', inputs: [image], attributes: { size: 1 } },
  { op: 'MeanVarianceNormalization', inputs: [image] },
  { op: 'Resize', inputs: [image, null, vector(1, 1, 2, 2)] },
  { op: 'Upsample', inputs: [image, vector(1, 1, 2, 2)], opset: 9 },
  { op: 'Expand', inputs: [image, ints(1, 1, 4, 4)] },
  { op: 'Tile', inputs: [image, ints(1, 1, 2, 1)] },
  { op: 'LpPool', inputs: [image], attributes: pool },
  { op: 'GlobalLpPool', inputs: [image] },
  { op: 'GridSample', inputs: [image, constant(2, 3, 3, 2)], opset: 16 },
  { op: 'RotaryEmbedding', inputs: [image, constant(2, 4, 2), constant(2, 4, 2)], opset: 23 },
];

const title = ({ op, inputs, attributes }: NodeUnderTest) =>
  `${op} ${inputs.map(input => (Array.isArray(input) ? 'x' : 'constant')).join(' ')} ${JSON.stringify(attributes ?? {})}`;

describe.each(nodes.map(node => [title(node), node] as const))('%s', (_, node) => {
  /** The node's channel 1, computed with channel 1 of its operands zero. */
  const channel = (zeroed: (input: number) => boolean): number[] =>
    torch.scope(() => {
      const random = stream(2, node.op);
      const inputs = node.inputs.flatMap((input, i) => {
        if (!Array.isArray(input)) return [];
        const values = Float32Array.from({ length: sizeOf(image) }, () => random.uniform() + 0.1);
        if (zeroed(i)) for (let at = 0; at < values.length; at++) if (Math.floor(at / 16) % 4 === 1) values[at] = 0;
        return [torch.tensor(values, image)];
      });
      const [y] = forward(torch, node, inputs);
      return [...torch.values(torch.op('select.int')(y, 1, 1))];
    });
  const graph = nodeGraph(node);
  const claim = graph.nodes[0].operator!.zero(graph.nodes[0]);

  test('keeps zeros if it says so', () => {
    const isZero = channel(() => true).every(value => value === 0);
    if (claim === 'zero' || claim === 'absorbs') expect(isZero).toBe(true);
    else expect(claim).toBe('constant');
  });

  test('and says so if it does, as far as one node can tell', () => {
    // Zero only by chance: -0 of a rounding, a maximum with what happens to be smaller.
    const exceptions = ['Log', 'Softmax', 'MeanVarianceNormalization'];
    const isZero = channel(() => true).every(value => value === 0);
    if (isZero && !exceptions.includes(node.op)) expect(['zero', 'absorbs']).toContain(claim);
  });

  test.runIf(claim === 'absorbs')('one zero operand is enough', () => {
    for (const input of node.inputs.keys()) {
      if (Array.isArray(node.inputs[input])) expect(channel(i => i === input).every(value => value === 0)).toBe(true);
    }
  });
});

test('every operator that is trained is here, or it sums over channels, or its channels are others, or it has no image', () => {
  const tested = new Set(nodes.map(({ op }) => op));
  const others = [
    ...[
      'AffineGrid',
      'ArgMax',
      'ArgMin',
      'Attention',
      'BitShift',
      'BitwiseAnd',
      'BitwiseNot',
      'BitwiseOr',
      'BitwiseXor',
    ],
    ...['CastLike', 'Concat', 'ConstantOfShape', 'ConvTranspose', 'DepthToSpace', 'Einsum', 'Flatten', 'Gather'],
    ...['GatherElements', 'Gemm', 'LogSoftmax', 'MatMul', 'ReduceL1', 'ReduceL2', 'ReduceLogSum', 'ReduceLogSumExp'],
    ...[
      'ReduceMax',
      'ReduceMin',
      'ReduceProd',
      'ReduceSumSquare',
      'Scatter',
      'ScatterElements',
      'ScatterND',
      'SpaceToDepth',
    ],
    ...['Squeeze', 'TopK', 'Transpose', 'Trilu'],
  ];
  const trained = [...operators.values()].filter(({ forward: run }) => run).map(({ type }) => type);
  expect(trained.filter(type => !tested.has(type)).sort()).toEqual(others);
});
