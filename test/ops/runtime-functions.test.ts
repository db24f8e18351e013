import { expect, test } from 'vitest';
import { DataType, float, tensorOf } from '../../src/onnx/index.ts';
import { openEngine } from '../../src/torch/index.ts';
import { float32, int64, matchesRuntime, type Variant } from './against-runtime.ts';
import { forward } from './node.ts';

const image = [2, 3, 4];
const one: Variant[] = [{ inputs: [image] }];
const small: Variant[] = [{ inputs: [image], draw: 'uniform' }];
const both: Variant[] = [{ inputs: [image, [3, 1]] }];
const truth: Variant[] = [{ inputs: [image, [4]], elemType: DataType.BOOL }];
const whole: Variant[] = [{ inputs: [image, [4]], elemType: DataType.INT32, opset: 18 }];
const special = tensorOf('', Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY), [4]);

/** Elementwise operators; what they give comes from ONNX Runtime. */
matchesRuntime({
  Sin: one,
  Cos: one,
  Tan: small,
  Asin: small,
  Acos: small,
  Atan: one,
  Sinh: one,
  Cosh: one,
  Asinh: one,
  Acosh: [{ inputs: [tensorOf('', Float32Array.of(1, 1.5, 8), [3])] }],
  Atanh: small,
  Round: [{ inputs: [image] }, { inputs: [float32(0.5, 1.5, -0.5, -2.5, 3.49)] }],
  Floor: one,
  Ceil: one,
  Sign: one,
  Erf: one,
  Abs: one,
  Softplus: one,
  Softsign: one,
  Mish: [{ inputs: [image], opset: 18 }],
  HardSwish: one,
  Gelu: [
    { inputs: [image], opset: 20 },
    { inputs: [image], attributes: { approximate: 'tanh' }, opset: 20 },
  ],
  ThresholdedRelu: [
    { inputs: [image] },
    { inputs: [image], attributes: { alpha: float(0.25) } },
    { inputs: [image], attributes: { alpha: float(-0.5) } },
  ],
  Shrink: [{ inputs: [image] }, { inputs: [image], attributes: { lambd: float(0.25), bias: float(0.5) } }],
  IsNaN: [{ inputs: [special] }],
  IsInf: [
    { inputs: [special] },
    { inputs: [special], attributes: { detect_positive: 0 } },
    { inputs: [special], attributes: { detect_negative: 0 } },
    { inputs: [special], attributes: { detect_positive: 0, detect_negative: 0 } },
  ],
  Equal: [...both, ...whole],
  Greater: both,
  GreaterOrEqual: both,
  Less: both,
  LessOrEqual: both,
  And: truth,
  Or: truth,
  Xor: truth,
  Not: [{ inputs: [image], elemType: DataType.BOOL }],
  BitwiseAnd: whole,
  BitwiseOr: whole,
  BitwiseXor: whole,
  BitwiseNot: [{ inputs: [image], elemType: DataType.INT32, opset: 18 }],
  Mod: [
    { inputs: [image, [4]], attributes: { fmod: 1 } },
    { inputs: [image, int64(3)], elemType: DataType.INT64 },
    { inputs: [image, int64(-3)], elemType: DataType.INT64 },
    { inputs: [image, int64(-2)], elemType: DataType.INT64, attributes: { fmod: 1 } },
  ],
  Mean: [{ inputs: [image, [4], [3, 1]] }, { inputs: [image] }],
  CumSum: [
    { inputs: [image, int64(1)] },
    { inputs: [image, int64(-1)], attributes: { exclusive: 1 } },
    { inputs: [image, int64(0)], attributes: { reverse: 1 } },
    { inputs: [image, int64(2)], attributes: { reverse: 1, exclusive: 1 } },
  ],
  Swish: [
    { inputs: [image], opset: 24 },
    { inputs: [image], attributes: { alpha: float(1.5) }, opset: 24 },
  ],
  CumProd: [
    { inputs: [image, int64(1)], opset: 26 },
    { inputs: [image, int64(-1)], attributes: { exclusive: 1, reverse: 1 }, opset: 26 },
  ],
  Hardmax: [
    { inputs: [image] },
    { inputs: [image], attributes: { axis: 1 } },
    { inputs: [image], opset: 11 },
    { inputs: [float32(1, 3, 3, 2)], attributes: { axis: 0 } },
  ],
});

matchesRuntime({
  Gelu: [{ domain: 'com.microsoft', inputs: [image] }],
  QuickGelu: [{ domain: 'com.microsoft', inputs: [image] }],
});

// What ONNX Runtime does not have yet, or not for integers that the engine has.
test('SwiGLU and BitShift by their definitions', async () => {
  const torch = await openEngine({ threads: 1 });
  torch.scope(() => {
    const [a, b] = [
      [-2, 0, 0.5, 3],
      [1, 2, -3, 0.25],
    ];
    const gate = (x: number) => x / (1 + Math.exp(-1.5 * x));
    const [y] = forward(
      torch,
      { op: 'SwiGLU', inputs: [[4], [4]], attributes: { alpha: float(1.5) }, opset: 28 },
      [a, b].map(values => torch.tensor(Float64Array.from(values), [4])),
    );
    const expected = a.map((x, i) => gate(x) * b[i]);
    torch.values(y).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i], 6);
    });
    for (const [direction, wanted] of [
      ['LEFT', [16, 8, 3]],
      ['RIGHT', [1, 0, 3]],
    ] as const) {
      const integers = [
        [4, 1, 3],
        [2, 3, 0],
      ].map(values => torch.tensor(BigInt64Array.from(values, BigInt), [3]));
      const node = { op: 'BitShift', inputs: [[3], [3]], attributes: { direction }, elemType: DataType.INT64 };
      expect(torch.ints(forward(torch, node, integers)[0])).toEqual(wanted);
    }
  });
});
