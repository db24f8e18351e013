import type { Engine, Tensor } from '../../graph/engine.ts';
import type { NodeView, Operator, Zero } from '../../graph/operator.ts';
import { DataType } from '../../onnx/index.ts';
import { elementwise, unary } from './elementwise.ts';

type Run = (x: Tensor) => Tensor;

type Call = ReturnType<Engine['op']>;
type Ops = (name: string) => Call;

/** A function of one input in terms of several of libtorch's operators. */
const composed = (type: string, run: (n: NodeView, op: Ops) => Run, zero: Zero = 'zero', elemType?: number): Operator =>
  elementwise(type, {
    zero: () => zero,
    elemType,
    forward: (n, engine) => {
      const step = run(n, name => engine.op(name));
      return ([x]) => step(x!);
    },
  });

/** x * sigmoid(alpha x). */
const swish = (alpha: number, op: Ops): Run => {
  const [multiply, sigmoid, times, silu] = ['mul.Tensor', 'sigmoid', 'mul.Scalar', 'silu'].map(op);
  return alpha === 1 ? x => silu(x) : x => multiply(x, sigmoid(times(x, alpha)));
};

/** Functions of one element that are not activations of older networks. https://onnx.ai/onnx/operators/ (each under its name) */
export const functions: readonly Operator[] = [
  unary('Sin', 'sin', 'zero', Math.sin),
  unary('Cos', 'cos', 'constant', Math.cos),
  unary('Tan', 'tan', 'zero', Math.tan),
  unary('Asin', 'asin', 'zero', Math.asin),
  unary('Acos', 'acos', 'constant', Math.acos),
  unary('Atan', 'atan', 'zero', Math.atan),
  unary('Sinh', 'sinh', 'zero', Math.sinh),
  unary('Cosh', 'cosh', 'constant', Math.cosh),
  unary('Asinh', 'asinh', 'zero', Math.asinh),
  unary('Acosh', 'acosh', 'constant', Math.acosh),
  unary('Atanh', 'atanh', 'zero', Math.atanh),
  unary('Round', 'round', 'zero', x => {
    const up = Math.floor(x + 0.5);
    return up - x === 0.5 && up % 2 !== 0 ? up - 1 : up;
  }),
  composed('Softsign', (_, op) => {
    const [divide, add, abs] = ['div.Tensor', 'add.Scalar', 'abs'].map(op);
    return x => divide(x, add(abs(x), 1));
  }),
  // (1, 20): the error function, or by tanh.
  composed('Gelu', (n, op) => {
    const gelu = op('gelu');
    const approximate = n.string('approximate', 'none');
    return x => gelu(x, approximate);
  }),
  composed('Swish', (n, op) => swish(n.float('alpha', 1), op)),
  {
    ...composed('QuickGelu', (n, op) => swish(n.float('alpha', 1.702), op)),
    domain: 'com.microsoft',
  },
  {
    ...composed('Gelu', (_, op) => {
      const gelu = op('gelu');
      return x => gelu(x, 'none');
    }),
    domain: 'com.microsoft',
  },
  composed('ThresholdedRelu', (n, op) => {
    const [multiply, above] = ['mul.Tensor', 'gt.Scalar'].map(op);
    const alpha = n.float('alpha', 1);
    // A negative threshold lets 0 through as 0.
    return x => multiply(x, above(x, alpha));
  }),
  // With a bias, 0 stays 0 as long as the threshold is not negative.
  {
    ...composed('Shrink', (n, op) => {
      const [add, multiply, above, below, where] = [
        'add.Scalar',
        'mul.Tensor',
        'gt.Scalar',
        'lt.Scalar',
        'where.self',
      ].map(op);
      const [lambda, bias] = [n.float('lambd', 0.5), n.float('bias', 0)];
      return x => where(below(x, -lambda), add(x, bias), multiply(add(x, -bias), above(x, lambda)));
    }),
    zero: n => (n.float('lambd', 0.5) >= 0 || n.float('bias', 0) === 0 ? 'zero' : 'constant'),
  },
  composed('IsNaN', (_, op) => op('isnan'), 'zero', DataType.BOOL),
  composed(
    'IsInf',
    (n, op) => {
      const positive = n.int('detect_positive', 1) === 1;
      if (n.int('detect_negative', 1) === 1) return op(positive ? 'isinf' : 'isneginf');
      if (positive) return op('isposinf');
      const [isInf, zeros] = ['isinf', 'zeros_like'].map(op);
      return x => zeros(isInf(x));
    },
    'zero',
    DataType.BOOL,
  ),
];

/** Swish of one operand times the other. https://onnx.ai/onnx/operators/onnx__SwiGLU.html (28) */
export const SwiGLU: Operator = elementwise('SwiGLU', {
  zero: () => 'absorbs',
  forward: (n, engine) => {
    const multiply = engine.op('mul.Tensor');
    const gate = swish(n.float('alpha', 1), name => engine.op(name));
    return ([a, b]) => multiply(gate(a!), b);
  },
});
