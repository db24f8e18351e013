import { type Operator, scale } from '../../graph/operator.ts';
import { elementwise, unary } from './elementwise.ts';

/** Activations with attributes: libtorch's arguments from the node's. */
const activation = (type: string, aten: string, args: (n: Parameters<Operator['zero']>[0]) => number[]): Operator =>
  elementwise(type, {
    zero: () => 'zero',
    forward: (n, engine) => {
      const call = engine.op(aten);
      const values = args(n);
      return ([x]) => call(x, ...values);
    },
  });

/** Functions of one element. https://onnx.ai/onnx/operators/ (each under its name) */
export const activations: readonly Operator[] = [
  {
    ...unary('Relu', 'relu', 'zero', x => Math.max(0, x)),
    forwardInPlace: (_, engine) => {
      const relu = engine.op('relu_');
      return ([x]) => relu(x);
    },
  },
  unary('Tanh', 'tanh', 'zero'),
  unary('Sigmoid', 'sigmoid', 'constant'),
  unary('Softplus', 'softplus', 'constant'),

  unary('Mish', 'mish', 'zero'),
  unary('HardSwish', 'hardswish', 'zero'),
  unary('Erf', 'erf', 'zero'),
  unary('Abs', 'abs', 'zero', Math.abs),
  unary('Neg', 'neg', 'zero', x => -x),
  unary('Exp', 'exp', 'constant', Math.exp),
  unary('Log', 'log', 'constant', Math.log),
  unary('Sqrt', 'sqrt', 'zero', Math.sqrt),
  unary('Reciprocal', 'reciprocal', 'constant', x => 1 / x),
  unary('Floor', 'floor', 'zero', Math.floor),
  unary('Ceil', 'ceil', 'zero', Math.ceil),
  unary('Sign', 'sign', 'zero', Math.sign),
  activation('LeakyRelu', 'leaky_relu', n => [n.float('alpha', 0.01)]),
  activation('Elu', 'elu', n => [n.float('alpha', 1)]),
  activation('Celu', 'celu', n => [n.float('alpha', 1)]),
  activation('Selu', 'elu', n => [n.float('alpha', 1.6732631921768188), n.float('gamma', 1.0507010221481323)]),
  elementwise('HardSigmoid', {
    zero: () => 'constant',
    forward: (n, engine) => {
      const [multiply, add, clamp] = ['mul.Scalar', 'add.Scalar', 'clamp'].map(name => engine.op(name));
      const [alpha, beta] = [n.float('alpha', 0.2), n.float('beta', 0.5)];
      return ([x]) => clamp(add(multiply(x, alpha), beta), 0, 1);
    },
  }),
];

/** Relu with a slope per channel below zero. https://onnx.ai/onnx/operators/onnx__PRelu.html (6, 7, 9, 16) */
export const PRelu: Operator = elementwise('PRelu', {
  zero: () => 'zero',
  constant: scale,
  forward: (_, engine) => {
    const [relu, minus, times, sub] = ['relu', 'neg', 'mul.Tensor', 'sub.Tensor'].map(name => engine.op(name));
    return ([x, slope]) => sub(relu(x), times(slope, relu(minus(x))));
  },
});
