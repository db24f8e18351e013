import { describe, expect, test } from 'vitest';
import { tensorOf } from '../../src/onnx/index.ts';
import { costOf } from '../../src/prune/cost.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { type NodeUnderTest, nodeGraph } from './node.ts';

const weights = (...dims: number[]) => tensorOf('', new Float32Array(dims.reduce((a, b) => a * b)), dims);

const costOfNode = (node: NodeUnderTest) => costOf(coupleGraph(nodeGraph(node)), 'macs');
const macs = (node: NodeUnderTest) => {
  const { full, unknown } = costOfNode(node);
  expect(unknown).toEqual([]);
  return full;
};

describe('Conv counts one MAC per output element, input channel of its group and kernel cell', () => {
  test('3x3', () =>
    expect(
      macs({
        op: 'Conv',
        inputs: [
          ['N', 3, 32, 32],
          [64, 3, 3, 3],
        ],
        attributes: { pads: [1, 1, 1, 1] },
      }),
    ).toBe(64 * 32 * 32 * 3 * 9));
  test('strided, without pads, with bias', () =>
    expect(macs({ op: 'Conv', inputs: [['N', 3, 32, 31], [8, 3, 5, 3], [8]], attributes: { strides: [2, 3] } })).toBe(
      8 * 14 * 10 * 3 * 15,
    ));
  test('in groups', () =>
    expect(
      macs({
        op: 'Conv',
        inputs: [
          ['N', 8, 10, 10],
          [12, 2, 3, 3],
        ],
        attributes: { group: 4 },
      }),
    ).toBe(12 * 8 * 8 * 2 * 9));
  test('depthwise', () =>
    expect(
      macs({
        op: 'Conv',
        inputs: [
          ['N', 8, 10, 10],
          [8, 1, 3, 3],
        ],
        attributes: { group: 8 },
      }),
    ).toBe(8 * 64 * 9));
  test('1-D and 3-D', () => {
    expect(
      macs({
        op: 'Conv',
        inputs: [
          ['N', 2, 10],
          [3, 2, 4],
        ],
      }),
    ).toBe(3 * 7 * 2 * 4);
    expect(
      macs({
        op: 'Conv',
        inputs: [
          ['N', 2, 5, 6, 7],
          [3, 2, 2, 2, 2],
        ],
      }),
    ).toBe(3 * 4 * 5 * 6 * 2 * 8);
  });
});

describe('ConvTranspose counts one MAC per input element, output channel of its group and kernel cell', () => {
  test.each([
    ['strided', [['N', 6, 8, 9], [6, 4, 3, 3], [4]], { strides: [2, 2] }, 6 * 8 * 9 * 4 * 9],
    [
      'in groups',
      [
        ['N', 6, 8, 9],
        [6, 4, 3, 2],
      ],
      { group: 3 },
      6 * 8 * 9 * 4 * 6,
    ],
    [
      'depthwise',
      [
        ['N', 6, 8, 9],
        [6, 1, 2, 2],
      ],
      { group: 6, strides: [2, 2] },
      6 * 8 * 9 * 4,
    ],
    [
      '1-D',
      [
        ['N', 3, 10],
        [3, 5, 4],
      ],
      { auto_pad: 'SAME_UPPER', strides: [2] },
      3 * 10 * 5 * 4,
    ],
  ] as const)('%s', (_, inputs, attributes, expected) => {
    expect(macs({ op: 'ConvTranspose', inputs, attributes })).toBe(expected);
  });
});

describe('Gemm and MatMul count rows x inner x columns', () => {
  test('Gemm of one image', () =>
    expect(macs({ op: 'Gemm', inputs: [['N', 64], [10, 64], [10]], attributes: { transB: 1 } })).toBe(640));
  test('Gemm of other rows than the batch', () =>
    expect(macs({ op: 'Gemm', inputs: [[64, 5], weights(64, 10)], attributes: { transA: 1 } })).toBe(5 * 640));
  test('MatMul with a weight', () =>
    expect(
      macs({
        op: 'MatMul',
        inputs: [
          ['N', 7, 64],
          [64, 10],
        ],
      }),
    ).toBe(7 * 64 * 10));
  test('MatMul of two activations', () =>
    expect(
      macs({
        op: 'MatMul',
        inputs: [
          ['N', 4, 7, 16],
          ['N', 4, 16, 5],
        ],
      }),
    ).toBe(4 * 7 * 16 * 5));
});

describe('the batch counts as 1', () => {
  test.each(['N', 1, 8])('where it is %s', batch => {
    expect(
      macs({
        op: 'Conv',
        inputs: [
          [batch, 3, 4, 4],
          [2, 3, 1, 1],
        ],
      }),
    ).toBe(2 * 16 * 3);
    expect(
      macs({
        op: 'Gemm',
        inputs: [
          [batch, 64],
          [64, 10],
        ],
      }),
    ).toBe(640);
    expect(
      macs({
        op: 'MatMul',
        inputs: [
          [batch, 7, 64],
          [64, 10],
        ],
      }),
    ).toBe(7 * 640);
  });
});

describe('what is not known is not zero', () => {
  test.each<[string, NodeUnderTest]>([
    [
      'Conv over a dynamic axis',
      {
        op: 'Conv',
        inputs: [
          ['N', 3, 'H', 'W'],
          [8, 3, 3, 3],
        ],
      },
    ],
    [
      'MatMul over a dynamic axis',
      {
        op: 'MatMul',
        inputs: [
          ['N', 'T', 64],
          [64, 10],
        ],
      },
    ],
    ['an operator without a record', { op: 'Foo', inputs: [['N', 3]] }],
  ])('%s', (_, node) => {
    expect(costOfNode(node).unknown).toEqual([node.op]);
  });
});

test.each(['Relu', 'GlobalAveragePool', 'Softmax', 'Identity'])('%s costs nothing', op =>
  expect(macs({ op, inputs: [['N', 3, 4, 4]] })).toBe(0),
);
