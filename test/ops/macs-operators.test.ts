import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { type AttributeInput, GraphBuilder, tensorOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { costOf } from '../../src/prune/cost.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { type NodeUnderTest, nodeGraph } from './node.ts';

const weights = (...dims: number[]) => tensorOf('', new Float32Array(dims.reduce((a, b) => a * b)), dims);
const codes = (...dims: number[]) => tensorOf('', new Int8Array(dims.reduce((a, b) => a * b)), dims);
const zero = tensorOf('', Uint8Array.of(0), []);
const one = tensorOf('', Float32Array.of(1), []);

function macs(node: NodeUnderTest): number {
  const { full, unknown } = costOf(coupleGraph(nodeGraph(node)), 'macs');
  expect(unknown).toEqual([]);
  return full;
}

describe('Einsum counts the sums of products that it takes, two operands at a time', () => {
  test.each<[string, NodeUnderTest['inputs'], number]>([
    ['nk,kp->np', [['N', 6], weights(6, 8)], 6 * 8],
    ['nchw,oc->nohw', [['N', 3, 5, 7], weights(4, 3)], 5 * 7 * 3 * 4],
    [
      'bqd,bkd->bqk',
      [
        ['N', 5, 6],
        ['N', 5, 6],
      ],
      5 * 5 * 6,
    ],
    ['nk,kp,pq->nq', [['N', 6], weights(6, 8), weights(8, 3)], 6 * 8 + 8 * 3],
    ['...k,kp->...p', [['N', 4, 6], weights(6, 8)], 4 * 6 * 8],
    // Nothing is multiplied and added.
    ['nk->kn', [['N', 6]], 0],
    ['nk,k->nk', [['N', 6], weights(6)], 0],
  ])('%s', (equation, inputs, expected) => {
    expect(macs({ op: 'Einsum', inputs, attributes: { equation } })).toBe(expected);
  });
});

describe('recurrent layers count both weights in every step and direction', () => {
  const layer = (op: string, gates: number, directions: number, attributes: Record<string, AttributeInput> = {}) =>
    macs({
      op,
      inputs: [[7, 1, 5], weights(directions, gates * 6, 5), weights(directions, gates * 6, 6)],
      attributes: { hidden_size: 6, direction: directions === 2 ? 'bidirectional' : 'forward', ...attributes },
    });
  test.each([
    ['LSTM', 4],
    ['GRU', 3],
    ['RNN', 1],
  ])('%s', (op, gates) => {
    expect(layer(op, gates, 1)).toBe(7 * gates * 6 * (5 + 6));
    expect(layer(op, gates, 2)).toBe(2 * 7 * gates * 6 * (5 + 6));
  });
});

describe('operators on codes count as their real ones do', () => {
  test('QLinearConv in groups', () => {
    const inputs = [['N', 8, 10, 10], one, zero, codes(12, 2, 3, 3), one, codes(1), one, zero];
    expect(macs({ op: 'QLinearConv', inputs, attributes: { group: 4 } })).toBe(12 * 8 * 8 * 2 * 9);
  });
  test('ConvInteger, MatMulInteger and QLinearMatMul', () => {
    expect(macs({ op: 'ConvInteger', inputs: [['N', 3, 9, 9], codes(4, 3, 2, 2)] })).toBe(4 * 8 * 8 * 3 * 4);
    expect(macs({ op: 'MatMulInteger', inputs: [['N', 7, 6], codes(6, 8)] })).toBe(7 * 6 * 8);
    const inputs = [['N', 7, 6], one, zero, codes(6, 8), one, zero, one, zero];
    expect(macs({ op: 'QLinearMatMul', inputs })).toBe(7 * 6 * 8);
  });
});

describe('attention counts queries by keys and the outcome by values', () => {
  test.each<[string, readonly (readonly number[])[], Record<string, number>]>([
    [
      'flat heads',
      [
        [1, 7, 12],
        [1, 9, 6],
        [1, 9, 10],
      ],
      { q_num_heads: 4, kv_num_heads: 2 },
    ],
    [
      'heads apart',
      [
        [1, 4, 7, 3],
        [1, 2, 9, 3],
        [1, 2, 9, 5],
      ],
      {},
    ],
  ])('%s', (_, inputs, attributes) => {
    expect(macs({ op: 'Attention', inputs, attributes, opset: 23 })).toBe(4 * 7 * 9 * (3 + 5));
  });

  test('with keys and values of the past', () => {
    const past = [
      [1, 4, 20, 3],
      [1, 4, 20, 5],
    ];
    const now = [
      [1, 1, 12],
      [1, 1, 12],
      [1, 1, 20],
    ];
    const attributes = { q_num_heads: 4, kv_num_heads: 4 };
    expect(macs({ op: 'Attention', inputs: [...now, null, ...past], attributes, opset: 23, outputs: 3 })).toBe(
      4 * (1 + 20) * (3 + 5),
    );
    const inputs = [...now, null, null, null, ...past];
    expect(macs({ op: 'MultiHeadAttention', domain: 'com.microsoft', inputs, attributes: { num_heads: 4 } })).toBe(
      4 * (1 + 20) * (3 + 5),
    );
    const packed = [[1, 1, 6], weights(6, 36), null, null, [2, 1, 4, 20, 3]];
    expect(macs({ op: 'Attention', domain: 'com.microsoft', inputs: packed, attributes: { num_heads: 4 } })).toBe(
      6 * 36 + (1 + 20) * (12 + 12),
    );
  });
});

test('operators that multiply nothing never make a cost unknown, even where lengths depend on the data', () => {
  const g = new GraphBuilder({ opset: 17 });
  const x = g.input('x', [1, 3, 8, 8]);
  const w = g.initializer('w', new Float32Array(4 * 3), [4, 3, 1, 1]);
  const y = g.node('Conv', [x, w], {}, { output: 'y' });
  const places = g.node('NonZero', [y], {}, { output: 'places' });
  g.output(g.node('GatherND', [y, g.node('Transpose', [places], {}, { output: 't' })], {}, { output: 'z' }));
  g.output(g.node('ArgMax', [y], { axis: 1 }, { output: 'best' }));
  const cost = costOf(coupleGraph(buildGraph(g.model(), operators)), 'macs');
  expect(cost).toMatchObject({ full: 64 * 12, unknown: [] });
});
