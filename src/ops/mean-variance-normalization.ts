import { normalAxis } from '../graph/axes.ts';
import { type NodeView, operator } from '../graph/operator.ts';
import { coupleNormalised } from './families/normalised.ts';

const axesOf = (n: NodeView): number[] =>
  (n.ints('axes') ?? [0, 2, 3]).map(axis => normalAxis(axis, n.shape(0).length));

/** https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html (9, 13) */
export const MeanVarianceNormalization = operator('MeanVarianceNormalization', {
  shape: n => [n.type(0)],
  couple(n, r) {
    coupleNormalised(n, r, axesOf(n));
    return undefined;
  },
  // ONNX Runtime divides 0 by 0 where all elements are equal: a mask in front would not keep zeros.
  zero: () => 'constant',
  forward(n, engine) {
    const [mean, subtract, norm, divide] = ['mean.dim', 'sub.Tensor', 'linalg_vector_norm', 'div.Tensor'].map(name =>
      engine.op(name),
    );
    const [divideBy, add] = ['div.Scalar', 'add.Scalar'].map(name => engine.op(name));
    const axes = axesOf(n);
    return ([x]) => {
      const centred = subtract(x, mean(x, axes, true));
      // The deviation as a norm, whose gradient at 0 is finite.
      const count = axes.reduce((product, axis) => product * x!.shape[axis], 1);
      return divide(centred, add(divideBy(norm(centred, 2, axes, true), Math.sqrt(count)), 1e-9));
    };
  },
});
