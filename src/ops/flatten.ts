import { normalAxis } from '../graph/axes.ts';
import { productOf } from '../graph/dims.ts';
import { operator } from '../graph/operator.ts';
import { coupleRegrouped } from './families/regroup.ts';
import { targetAt } from './reshape.ts';

/** https://onnx.ai/onnx/operators/onnx__Flatten.html (1, 9, 11, 13) */
export const Flatten = operator('Flatten', {
  moves: () => null,
  shape(n) {
    const shape = n.shape(0);
    const given = n.int('axis', 1);
    const axis = given === shape.length ? given : normalAxis(given, shape.length);
    return [{ elemType: n.type(0).elemType, shape: [productOf(shape.slice(0, axis)), productOf(shape.slice(axis))] }];
  },
  couple(n, r) {
    coupleRegrouped(n, r);
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const reshape = engine.op('reshape');
    const target = targetAt(n.shape(0), n.outputShape(0));
    return ([x]) => reshape(x, target(x!));
  },
});
