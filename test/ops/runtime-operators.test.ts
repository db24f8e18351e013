import { DataType, float, tensorOf } from '../../src/onnx/index.ts';
import { float32, int64, matchesRuntime, type Variant } from './against-runtime.ts';

const image = [2, 3, 4, 5];
const indices = (dims: readonly number[], ...values: number[]) =>
  tensorOf('', BigInt64Array.from(values, BigInt), dims);
const few = indices([2, 2, 2], 0, 1, -1, 3, 2, 2, -4, 0);
/** Of which several are equal. */
const equals = tensorOf('', Float32Array.of(1, 3, 3, 2, 3, 1, 1, 2), [2, 4]);

const reductions: Variant[] = [
  { inputs: [image, int64(1)], opset: 18 },
  { inputs: [image, int64(-1, 1)], attributes: { keepdims: 0 }, opset: 18 },
  { inputs: [image], opset: 18 },
];
const attributed: Variant[] = [
  { inputs: [image], attributes: { axes: [1, -1], keepdims: 0 }, opset: 11 },
  { inputs: [image], attributes: { keepdims: 0 }, opset: 13 },
];
const arguments_: Variant[] = [
  { inputs: [image] },
  { inputs: [image], attributes: { axis: -2, keepdims: 0 } },
  { inputs: [image], attributes: { axis: 1 }, opset: 11 },
  { inputs: [equals], attributes: { axis: 1 } },
];

/** Operators on whole tensors; what they give comes from ONNX Runtime. */
matchesRuntime({
  ReduceL1: [...reductions, ...attributed],
  ReduceL2: [...reductions, ...attributed],
  ReduceSumSquare: [...reductions, ...attributed],
  ReduceLogSumExp: [...reductions, ...attributed],
  ReduceLogSum: [{ inputs: [float32(1, 2, 3, 0.5), int64(0)], opset: 18 }],
  ReduceProd: [...reductions, ...attributed],
  ArgMax: arguments_,
  ArgMin: arguments_,
  TopK: [
    { inputs: [image, int64(2)], outputs: 2 },
    { inputs: [image, int64(3)], attributes: { axis: 1, largest: 0 }, outputs: 2 },
    { inputs: [image, int64(1)], attributes: { axis: 2 }, outputs: 2, opset: 10 },
    { inputs: [image], attributes: { axis: -1, k: 2 }, outputs: 2, opset: 9 },
    { inputs: [equals, int64(3)], outputs: 2 },
    { inputs: [equals, int64(2)], attributes: { largest: 0 }, outputs: 2 },
  ],
  Trilu: [
    { inputs: [image] },
    { inputs: [image, tensorOf('', BigInt64Array.of(-1n), [])], attributes: { upper: 0 } },
    { inputs: [image, tensorOf('', BigInt64Array.of(2n), [])] },
  ],
  GatherElements: [
    { inputs: [[2, 2, 4], few], attributes: { axis: 2 } },
    { inputs: [[4, 2, 2], few], attributes: { axis: 0 } },
  ],
  ScatterElements: [
    { inputs: [[2, 2, 4], indices([2, 2, 2], 0, 1, -1, 0, 2, 1, -4, 2), [2, 2, 2]], attributes: { axis: -1 } },
    { inputs: [[2, 2, 4], few, [2, 2, 2]], attributes: { axis: 2, reduction: 'add' }, opset: 16 },
  ],
  Einsum: [
    {
      inputs: [
        [3, 4],
        [4, 5],
      ],
      attributes: { equation: 'ij,jk->ik' },
    },
    {
      inputs: [
        [3, 4],
        [4, 5],
      ],
      attributes: { equation: 'ba, ac' },
    },
    {
      inputs: [
        [2, 3, 4],
        [2, 4, 5],
      ],
      attributes: { equation: '...ij,...jk->...ik' },
    },
    { inputs: [[2, 3, 4]], attributes: { equation: 'ijk->kji' } },
    { inputs: [[2, 3, 4]], attributes: { equation: 'ijk->i' } },
    { inputs: [[2, 3, 3]], attributes: { equation: '...ii->...i' } },
    { inputs: [[3], [4]], attributes: { equation: 'i,j->ij' } },
    {
      inputs: [
        [3, 4],
        [4, 5],
        [5, 2],
      ],
      attributes: { equation: 'ij,jk,kl->il' },
    },
  ],
  Attention: [
    {
      inputs: [
        [2, 3, 8],
        [2, 5, 8],
        [2, 5, 12],
      ],
      attributes: { q_num_heads: 4, kv_num_heads: 4 },
      opset: 23,
    },
    {
      inputs: [
        [2, 4, 3, 2],
        [2, 2, 3, 2],
        [2, 2, 3, 5],
      ],
      attributes: { is_causal: 1, scale: float(0.3) },
      opset: 23,
    },
    {
      inputs: [
        [2, 2, 3, 4],
        [2, 2, 5, 4],
        [2, 2, 5, 4],
        [3, 5],
      ],
      opset: 23,
    },
  ],
  RotaryEmbedding: [
    {
      inputs: [
        [2, 3, 4, 6],
        [2, 4, 3],
        [2, 4, 3],
      ],
      opset: 23,
    },
    {
      inputs: [
        [2, 4, 12],
        [2, 4, 2],
        [2, 4, 2],
      ],
      attributes: { num_heads: 3, interleaved: 1 },
      opset: 23,
    },
  ],
  CastLike: [
    { inputs: [image, indices([1], 3)] },
    { inputs: [image, tensorOf('', Uint8Array.of(1), [1], DataType.BOOL)] },
  ],
});
