import { tensorOf } from '../../src/onnx/index.ts';
import { int64 } from './against-runtime.ts';
import { type Differentiable, hasGradients } from './central-differences.ts';

const x = [2, 3, 4];
const indices = (dims: readonly number[], ...values: number[]) =>
  tensorOf('', BigInt64Array.from(values, BigInt), dims);
const few = indices([2, 3, 2], 0, 1, -1, 3, 2, 1, -4, 3, 2, 0, 1, 3);
/** No place twice. */
const apart = indices([2, 3, 2], 0, 1, -1, 2, 2, 1, -4, 3, 2, 0, 1, 3);
/** Two rows of the first two axes, one counted from the end. */
const pairs = indices([2, 2], 0, 1, 1, -1);

const nodes: Record<string, Differentiable> = {
  'Einsum of two': { op: 'Einsum', inputs: [x, [4, 2, 5]], attributes: { equation: 'bsd,dhk->bshk' } },
  'Einsum of three': {
    op: 'Einsum',
    inputs: [
      [3, 4],
      [4, 5],
      [5, 2],
    ],
    attributes: { equation: 'ij,jk,kl->il' },
  },
  'Attention, flat, keys and values shared': {
    op: 'Attention',
    inputs: [
      [1, 3, 8],
      [1, 4, 4],
      [1, 4, 6],
    ],
    attributes: { q_num_heads: 4, kv_num_heads: 2 },
    opset: 23,
  },
  'RotaryEmbedding of flat heads': {
    op: 'RotaryEmbedding',
    inputs: [
      [1, 3, 8],
      [1, 3, 2],
      [1, 3, 2],
    ],
    attributes: { num_heads: 2 },
    opset: 23,
  },
  TopK: { op: 'TopK', inputs: [x, int64(2)], outputs: 2 },
  Trilu: { op: 'Trilu', inputs: [x] },
  GatherElements: { op: 'GatherElements', inputs: [x, few], attributes: { axis: 2 } },
  ScatterElements: { op: 'ScatterElements', inputs: [x, apart, [2, 3, 2]], attributes: { axis: 2 } },
  ScatterND: { op: 'ScatterND', inputs: [x, pairs, [2, 4]] },
  'ScatterND, added': { op: 'ScatterND', inputs: [x, pairs, [2, 4]], attributes: { reduction: 'add' }, opset: 16 },
};
for (const op of ['ReduceL1', 'ReduceL2', 'ReduceSumSquare', 'ReduceLogSumExp', 'ReduceProd']) {
  nodes[op] = { op, inputs: [x, int64(-1, 1)], opset: 18 };
}
nodes.ReduceLogSum = { op: 'ReduceLogSum', inputs: [x, int64(1)], opset: 18, between: [0.5, 3] };

hasGradients(nodes);
