import { normalAxis } from '../graph/axes.ts';
import { type Dim, operator, type Shape } from '../graph/operator.ts';
import { coupleRegrouped } from './families/regroup.ts';
import { targetAt } from './reshape.ts';

/** One axis for several: a number where all are known, the symbol where the others are 1. */
function merged(dims: Shape): Dim {
  const symbols = dims.filter(dim => typeof dim === 'string');
  const size = dims.reduce<number>((a, dim) => (typeof dim === 'number' ? a * dim : a), 1);
  if (symbols.length === 0) return size;
  return symbols.length === 1 && size === 1 ? symbols[0] : [...symbols, size].join('*');
}

/** https://onnx.ai/onnx/operators/onnx__Flatten.html (1, 9, 11, 13) */
export const Flatten = operator('Flatten', {
  late: true,
  shape(n) {
    const shape = n.shape(0);
    const axis = normalAxis(n.int('axis', 1), shape.length);
    return [{ elemType: n.type(0).elemType, shape: [merged(shape.slice(0, axis)), merged(shape.slice(axis))] }];
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
