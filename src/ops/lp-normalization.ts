import { normalAxis } from '../graph/axes.ts';
import { operator } from '../graph/operator.ts';
import { coupleNormalised } from './families/normalised.ts';

/** Division by the norm of an axis; a norm of 0 leaves zeros. https://onnx.ai/onnx/operators/onnx__LpNormalization.html (1, 22) */
export const LpNormalization = operator('LpNormalization', {
  shape: n => [n.type(0)],
  couple(n, r) {
    coupleNormalised(n, r, [normalAxis(n.int('axis', -1), n.shape(0).length)]);
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const [norm, divide, fill, isZero] = ['linalg_vector_norm', 'div.Tensor', 'masked_fill.Scalar', 'eq.Scalar'].map(
      name => engine.op(name),
    );
    const axes = [normalAxis(n.int('axis', -1), n.shape(0).length)];
    const p = n.int('p', 2);
    return ([x]) => {
      const length = norm(x, p, axes, true);
      return divide(x, fill(length, isZero(length, 0), 1));
    };
  },
});
