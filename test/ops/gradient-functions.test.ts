import { float } from '../../src/onnx/index.ts';
import { float32, int64 } from './against-runtime.ts';
import { type Differentiable, hasGradients } from './central-differences.ts';

const x = [2, 3, 4];
const one = (op: string, rest: Partial<Differentiable> = {}): [string, Differentiable] => [
  `${op} ${Object.keys(rest.attributes ?? {}).join(' ')}`,
  { op, inputs: [x], ...rest },
];
const inside = { between: [-0.9, 0.9] } as const;

hasGradients(
  Object.fromEntries([
    ...['Sin', 'Cos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Erf', 'Softplus', 'Softsign', 'HardSwish'].map(op => one(op)),
    ...['Tan', 'Asin', 'Acos', 'Atanh'].map(op => one(op, inside)),
    one('Acosh', { between: [1.1, 4] }),
    one('Mish', { opset: 18 }),
    one('Gelu', { opset: 20 }),
    one('Gelu', { attributes: { approximate: 'tanh' }, opset: 20 }),
    one('Swish', { attributes: { alpha: float(1.5) }, opset: 24 }),
    one('ThresholdedRelu', { attributes: { alpha: float(0.25) } }),
    one('Shrink', { attributes: { lambd: float(0.27), bias: float(0.5) } }),
    one('QuickGelu', { domain: 'com.microsoft' }),
    one('SwiGLU', { inputs: [x, x], opset: 28 }),
    one('Mean', { inputs: [x, [3, 1], [4]] }),
    one('Mod', { inputs: [x, float32(0.7)], attributes: { fmod: 1 } }),
    one('CumSum', { inputs: [x, int64(1)] }),
    one('CumSum', { inputs: [x, int64(2)], attributes: { exclusive: 1, reverse: 1 } }),
    one('CumProd', { inputs: [x, int64(2)], attributes: { exclusive: 1 }, opset: 26 }),
  ]),
);
