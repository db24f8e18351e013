import { normalAxis } from '../graph/axes.ts';
import { type Dim, operator } from '../graph/operator.ts';

/** https://onnx.ai/onnx/operators/onnx__Concat.html (1, 4, 11, 13) */
export const Concat = operator('Concat', {
  shape(n) {
    const shapes = n.inputs.map((_, i) => n.shape(i));
    const axis = normalAxis(n.int('axis', 1), shapes[0].length);
    const lengths = shapes.map(shape => shape[axis]);
    const total: Dim = lengths.every(dim => typeof dim === 'number')
      ? lengths.reduce<number>((a, dim) => a + (dim as number), 0)
      : `${n.outputs[0]}_${axis}`;
    return [{ elemType: n.type(0).elemType, shape: shapes[0].map((dim, i) => (i === axis ? total : dim)) }];
  },
  evaluate(n) {
    const parts = n.inputs.map((_, i) => n.constant(i));
    if (parts.some(part => part?.dims.length !== 1)) return [null];
    const values = parts.flatMap(part => part!.values);
    return [{ elemType: parts[0]!.elemType, dims: [values.length], values }];
  },
  couple(n, r) {
    const axis = normalAxis(n.int('axis', 1), n.shape(0).length);
    let offset = 0;
    n.inputs.forEach((_, i) => {
      const start = offset;
      n.shape(i).forEach((dim, a) => {
        if (a !== axis) return r.same(n.axis(i, a), n.outputAxis(0, a));
        if (typeof dim === 'string' || Number.isNaN(offset)) {
          offset = Number.NaN;
          return r.wall(n.axis(i, a), `Concat '${n.name}' joins axes of unknown length`);
        }
        r.map(n.axis(i, a), n.outputAxis(0, a), index => start + index);
        offset += dim;
      });
    });
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const cat = engine.op('cat');
    const axis = normalAxis(n.int('axis', 1), n.shape(0).length);
    return inputs => cat(inputs, axis);
  },
});
