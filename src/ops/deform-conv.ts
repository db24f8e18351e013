import { bias, operator, weight } from '../graph/operator.ts';
import { convolved, costOfConvolution, coupleConvolution, cutGroups } from './conv.ts';

const operands = { weight: 1, vectors: [3] };

/**
 * Convolution at places that other inputs shift and weigh: [batch, shifts, ...] keep their lengths.
 * https://onnx.ai/onnx/operators/onnx__DeformConv.html (19, 22)
 */
export const DeformConv = operator('DeformConv', {
  roles: { 1: weight({ out: 0, in: 1 }), 3: bias },
  shape: n => [{ elemType: n.type(0).elemType, shape: convolved(n, operands) }],
  couple(n, r) {
    coupleConvolution(n, r, operands);
    for (const input of [2, 4].filter(input => n.has(input))) {
      r.same(n.axis(input, 0), n.axis(0, 0));
      for (let axis = 1; axis < n.shape(input).length; axis++) {
        r.wall(n.axis(input, axis), `DeformConv '${n.name}' shifts by it`);
      }
    }
    // Each part of the channels has shifts of its own.
    if (n.int('offset_group', 1) > 1) r.wall(n.axis(0, 1), `DeformConv '${n.name}' shifts parts of it apart`);
    return undefined;
  },
  cost: n => costOfConvolution(n, operands),
  zero: n => (n.has(3) ? 'constant' : 'zero'),
  cut: (n, kept) => cutGroups(n, kept, operands),
});
