import { operator, scale, shift } from '../graph/operator.ts';
import { coupleNormalised } from './families/normalised.ts';

/** Each channel by its own statistics. https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html (1, 6, 22) */
export const InstanceNormalization = operator('InstanceNormalization', {
  roles: { 1: scale, 2: shift },
  foldable: [1, 2],
  shape: n => [n.type(0)],
  couple(n, r) {
    const spatial = n.shape(0).flatMap((_, axis) => (axis < 2 ? [] : [axis]));
    coupleNormalised(n, r, spatial);
    for (const input of [1, 2]) r.same(n.axis(input, 0), n.axis(0, 1));
    return undefined;
  },
  forward(n, engine) {
    const instanceNorm = engine.op('instance_norm');
    const epsilon = n.float('epsilon', 1e-5);
    return ([x, gamma, beta]) => instanceNorm(x, gamma, beta, null, null, true, 0, epsilon, false);
  },
});
