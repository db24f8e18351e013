import { type AttributeInput, DataType, float, tensorOf } from '../../src/onnx/index.ts';
import { int32, int64, matchesRuntime, scalar, type Variant } from './against-runtime.ts';

const end = Number.MAX_SAFE_INTEGER;
const beforeFirst = Number.MIN_SAFE_INTEGER;

const image = [2, 3, 7, 8];
const pool = (attributes: Record<string, AttributeInput>, opset = 17): Variant => ({
  inputs: [image],
  attributes: { kernel_shape: [3, 2], ...attributes },
  opset,
});
const windows: Variant[] = [
  pool({}),
  pool({ strides: [2, 3] }),
  pool({ auto_pad: 'SAME_UPPER', strides: [2, 2] }),
  pool({ auto_pad: 'SAME_LOWER', strides: [2, 2] }),
  pool({ auto_pad: 'SAME_LOWER', strides: [3, 1] }),
  pool({ auto_pad: 'VALID', strides: [2, 2] }),
  pool({ pads: [1, 0, 1, 0], strides: [2, 2] }),
  pool({ pads: [2, 1, 0, 0], strides: [2, 2] }),
  pool({ strides: [2, 3], ceil_mode: 1 }),
  pool({ strides: [3, 3], pads: [1, 1, 1, 1], ceil_mode: 1 }),
];

/** Forms of nodes by operator; what they give comes from ONNX Runtime. */
const variants: Readonly<Record<string, readonly Variant[]>> = {
  MaxPool: [
    ...windows,
    pool({ dilations: [2, 2] }),
    pool({ dilations: [2, 3], pads: [1, 1, 1, 1], strides: [2, 1], ceil_mode: 1 }),
    pool({ pads: [2, 1, 2, 1] }, 8),
    pool({ pads: [0, 0, 1, 1], strides: [2, 2], ceil_mode: 1 }),
  ],
  AveragePool: [
    ...windows,
    pool({ pads: [1, 1, 1, 1], count_include_pad: 1 }),
    pool({ pads: [2, 1, 0, 0], strides: [2, 2], count_include_pad: 1 }, 7),
    pool({ auto_pad: 'SAME_UPPER', strides: [2, 2], count_include_pad: 1 }),
  ],
  Conv: [
    { inputs: [image, [4, 3, 3, 2]], attributes: { auto_pad: 'SAME_LOWER', strides: [2, 3], kernel_shape: [3, 2] } },
    { inputs: [image, [4, 3, 1, 1]], attributes: { auto_pad: 'SAME_UPPER', strides: [2, 2] }, opset: 8 },
    { inputs: [image, [6, 1, 2, 2], [6]], attributes: { group: 3, pads: [1, 0, 0, 1] }, opset: 11 },
    {
      inputs: [
        [2, 4, 9],
        [6, 2, 3],
      ],
      attributes: { group: 2, strides: [2], dilations: [2] },
    },
  ],
  Pad: [
    { inputs: [image], attributes: { pads: [0, 2, 0, 1, 0, 1, 3, 0] }, opset: 10 },
    { inputs: [image], attributes: { pads: [0, 0, 1, 2, 0, 0, 2, 1], value: 1.5 }, opset: 2 },
    { inputs: [image, int64(0, 0, 1, 2, 0, 0, 2, 1), scalar(-2)] },
    { inputs: [image, int64(0, 0, 1, 2, 0, 0, 2, 1)], attributes: { mode: 'reflect' } },
    { inputs: [image, int64(0, 0, 1, 2, 0, 0, 2, 1)], attributes: { mode: 'edge' } },
    { inputs: [image, int64(0, 0, -1, 2, 0, -1, 2, -1)] },
    { inputs: [image, int64(2, 1, 0, 3), scalar(3), int64(-1, 1)], opset: 18 },
    { inputs: [image, int64(1, 2), null, int64(3)], opset: 18, attributes: { mode: 'edge' } },
    { inputs: [image, int64(1, 2, 3, 2), null, int64(-1, 2)], opset: 19, attributes: { mode: 'wrap' } },
    { inputs: [image, int64(0, 0, 0, 0, 0, 0, 0, 0)] },
  ],
  Slice: [
    { inputs: [image], attributes: { starts: [1, -3], ends: [end, -1], axes: [1, 3] }, opset: 9 },
    { inputs: [image], attributes: { starts: [0, 1], ends: [1, 3] }, opset: 1 },
    { inputs: [image, int64(-1), int64(beforeFirst), int64(1), int64(-1)] },
    { inputs: [image, int32(-1), int32(-(2 ** 31)), int32(-3), int32(-1)] },
    { inputs: [image, int64(6), int64(0), int64(2), int64(-2)] },
    { inputs: [image, int64(100, 1), int64(-100, end), int64(3, 2), int64(-3, 2)] },
    { inputs: [image, int64(0, 2), int64(end, -1), int64(0, -1)] },
    { inputs: [image, int64(0, 1, 0, 2), int64(2, 3, 100, 5)], opset: 10 },
    { inputs: [image, int64(5), int64(2), int64(2), int64(1)] },
  ],
  Softmax: [
    { inputs: [[2, 3, 4]] },
    { inputs: [[2, 3, 4]], opset: 11 },
    { inputs: [[2, 3, 4]], attributes: { axis: 0 }, opset: 12 },
    { inputs: [[2, 3, 4]], attributes: { axis: -1 }, opset: 11 },
    { inputs: [[2, 3, 4]], attributes: { axis: -2 } },
  ],
  LogSoftmax: [{ inputs: [[2, 3, 4]] }, { inputs: [[2, 3, 4]], opset: 11 }],
  Clip: [
    { inputs: [image], attributes: { min: float(-0.5) }, opset: 6 },
    { inputs: [image], attributes: { min: float(0), max: float(6) }, opset: 10 },
    { inputs: [image] },
    { inputs: [image, null, scalar(0.25)] },
    { inputs: [image, scalar(-0.25)] },
    { inputs: [image, [], []] },
  ],
  Squeeze: [
    { inputs: [[2, 1, 3, 1]] },
    { inputs: [[2, 1, 3, 1]], attributes: { axes: [-1] }, opset: 11 },
    { inputs: [[2, 1, 3, 1], int64(1, -1)] },
  ],
  Unsqueeze: [{ inputs: [[2, 3]], attributes: { axes: [3, 0] }, opset: 11 }, { inputs: [[2, 3], int64(-1, 1)] }],
  ReduceSum: [
    { inputs: [image], attributes: { axes: [1, -1], keepdims: 0 }, opset: 11 },
    { inputs: [image, int64(-1, 1)], attributes: { keepdims: 0 } },
    { inputs: [image], attributes: { noop_with_empty_axes: 1 } },
    { inputs: [image, int64()] },
    { inputs: [image], attributes: { keepdims: 0 } },
  ],
  ReduceMean: [
    { inputs: [image], attributes: { axes: [2, 3] } },
    { inputs: [image, int64(3, 2)], opset: 18 },
    { inputs: [image], attributes: { keepdims: 0 }, opset: 11 },
  ],
  ReduceMax: [{ inputs: [image], attributes: { axes: [1], keepdims: 0 } }],
  ReduceMin: [{ inputs: [image, int64(1, 2)], opset: 18 }],
  Reshape: [
    { inputs: [image, int64(0, -1)] },
    { inputs: [image, int64(-1, 0, 4)] },
    { inputs: [image, int64(2, 3, 1, 56, 1)] },
  ],
  Flatten: [0, 1, 2, -1, 4].map(axis => ({ inputs: [image], attributes: { axis } })),
  Gather: [
    { inputs: [image, int64(2, 0, -1)], attributes: { axis: 1 } },
    { inputs: [image, tensorOf('', BigInt64Array.of(-2n), [])], attributes: { axis: -1 } },
    { inputs: [image, tensorOf('', BigInt64Array.of(0n, 1n, 1n, 0n), [2, 2])], attributes: { axis: 2 } },
    { inputs: [image, int32(1)] },
  ],
  Transpose: [{ inputs: [image] }, { inputs: [image], attributes: { perm: [0, 2, 3, 1] } }],
  Concat: [{ inputs: [image, [2, 2, 7, 8]], attributes: { axis: -3 } }],
  Gemm: [
    { inputs: [[3, 4], [4, 5], [5]], opset: 7 },
    { inputs: [[4, 3], [4, 5], []], attributes: { transA: 1, alpha: 0.5 } },
    {
      inputs: [
        [3, 4],
        [5, 4],
        [3, 1],
      ],
      attributes: { transB: 1, beta: 0.25 },
    },
    {
      inputs: [
        [3, 4],
        [5, 4],
        [1, 5],
      ],
      attributes: { transB: 1 },
    },
    {
      inputs: [
        [3, 4],
        [4, 5],
      ],
      opset: 11,
    },
  ],
  MatMul: [
    { inputs: [[4], [4]] },
    { inputs: [[4], [2, 4, 3]] },
    { inputs: [[2, 3, 4], [4]] },
    {
      inputs: [
        [2, 1, 3, 4],
        [5, 4, 2],
      ],
    },
  ],
  Dropout: [
    { inputs: [image], opset: 7 },
    { inputs: [image], attributes: { ratio: float(0.25) }, opset: 10 },
    { inputs: [image, scalar(0.25)], outputs: 2 },
  ],
  Cast: [
    { inputs: [image], attributes: { to: DataType.INT64 } },
    { inputs: [image], attributes: { to: DataType.BOOL } },
    { inputs: [image], attributes: { to: DataType.FLOAT } },
    { inputs: [image], attributes: { to: DataType.DOUBLE } },
  ],
  Elu: [{ inputs: [image] }, { inputs: [image], attributes: { alpha: 0.5 } }],
  Celu: [{ inputs: [image], attributes: { alpha: 0.5 } }],
  Selu: [{ inputs: [image] }, { inputs: [image], attributes: { alpha: 1.5, gamma: 0.5 } }],
  HardSigmoid: [{ inputs: [image] }, { inputs: [image], attributes: { alpha: 0.5, beta: 0.25 } }],
  PRelu: [{ inputs: [image, [3, 1, 1]] }, { inputs: [image, [1]] }],
  Split: [
    { inputs: [image], attributes: { axis: 1 }, outputs: 3, opset: 11 },
    { inputs: [image], attributes: { axis: -1, split: [3, 5] }, outputs: 2, opset: 2 },
    { inputs: [image, int64(1, 2)], attributes: { axis: 1 }, outputs: 2 },
    { inputs: [image], attributes: { axis: 2, num_outputs: 3 }, outputs: 3, opset: 18 },
  ],
  LeakyRelu: [{ inputs: [image] }, { inputs: [image], attributes: { alpha: 0.25 } }],
  Max: [{ inputs: [image, [3, 1, 1], [8]] }, { inputs: [image] }],
  Sum: [{ inputs: [image, [7, 1], image], opset: 8 }],
  Div: [{ inputs: [image, [3, 1, 1]] }],
  Pow: [{ inputs: [image, scalar(2)] }],
  BatchNormalization: [
    {
      inputs: [image, [3], [3], [3], tensorOf('', Float32Array.of(1, 0.5, 2), [3])],
      attributes: { epsilon: 0.25 },
      opset: 9,
    },
  ],
};

matchesRuntime(variants);
