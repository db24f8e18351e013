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
    // A length that only one of them knows is everyone's.
    const common = shapes[0].map((dim, i) => shapes.find(shape => typeof shape[i] === 'number')?.[i] ?? dim);
    return [{ elemType: n.type(0).elemType, shape: common.with(axis, total) }];
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
    for (const i of n.inputs.keys()) {
      const start = offset;
      for (const [a, dim] of n.shape(i).entries()) {
        if (a !== axis) r.same(n.axis(i, a), n.outputAxis(0, a));
        else if (typeof n.outputShape(0)[a] === 'string')
          r.wall(n.axis(i, a), `Concat '${n.name}' joins axes of unknown length`);
        else {
          r.map(n.axis(i, a), n.outputAxis(0, a), index => start + index);
          offset += dim as number;
        }
      }
    }
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const cat = engine.op('cat');
    const axis = normalAxis(n.int('axis', 1), n.shape(0).length);
    return inputs => cat(inputs, axis);
  },
});
