import { operator } from '../graph/operator.ts';
import { coupleNormalised } from './families/normalised.ts';
import { padConstant } from './families/window.ts';

/** Division by the squares of neighbouring channels. https://onnx.ai/onnx/operators/onnx__LRN.html (1, 13) */
export const LRN = operator('LRN', {
  shape: n => [n.type(0)],
  couple(n, r) {
    coupleNormalised(n, r, [1]);
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const [multiply, add, pow, divide] = ['mul.Tensor', 'add.Tensor', 'pow.Tensor_Scalar', 'div.Tensor'].map(name =>
      engine.op(name),
    );
    const [times, plus, narrow] = ['mul.Scalar', 'add.Scalar', 'narrow'].map(name => engine.op(name));
    const size = n.int('size', 1);
    const [alpha, beta, bias] = [n.float('alpha', 1e-4), n.float('beta', 0.75), n.float('bias', 1)];
    const before = Math.floor((size - 1) / 2);
    const spatial = n.shape(0).slice(2);
    const zeros = spatial.map(() => 0);
    const pad = padConstant(engine, [before, ...zeros], [size - 1 - before, ...zeros], 0);
    return ([x]) => {
      const squares = pad(multiply(x, x));
      const channels = x!.shape[1];
      let sum = narrow(squares, 1, 0, channels);
      for (let i = 1; i < size; i++) sum = add(sum, narrow(squares, 1, i, channels));
      return divide(x, pow(plus(times(sum, alpha / size), bias), beta));
    };
  },
});
