import { axesOf, normalAxis } from '../graph/axes.ts';
import { isConcrete } from '../graph/dims.ts';
import { type NodeView, type Operator, operator, shapeVector } from '../graph/operator.ts';

/** Axes of length 1 that Squeeze takes away, of the input; those that Unsqueeze adds, of the output. */
function squeezedAxes(n: NodeView): number[] {
  const given = axesOf(n, 1);
  const shape = n.shape(0);
  if (n.opType === 'Squeeze') {
    const axes = given ?? shape.flatMap((dim, axis) => (dim === 1 ? [axis] : []));
    return axes.map(axis => normalAxis(axis, shape.length));
  }
  return (given ?? []).map(axis => normalAxis(axis, shape.length + given!.length));
}

/** For every axis of the longer shape that is not added or removed: its axis in the shorter one. */
function pairs(longer: number, added: readonly number[]): [number, number][] {
  const left = Array.from({ length: longer }, (_, axis) => axis).filter(axis => !added.includes(axis));
  return left.map((axis, at) => [axis, at]);
}

const reshaping = (type: 'Squeeze' | 'Unsqueeze'): Operator =>
  operator(type, {
    roles: { 1: shapeVector },
    moves: () => null,
    shape(n) {
      const axes = squeezedAxes(n);
      const shape = n.shape(0);
      if (type === 'Squeeze')
        return [{ elemType: n.type(0).elemType, shape: shape.filter((_, axis) => !axes.includes(axis)) }];
      const left = [...shape];
      const full = Array.from({ length: shape.length + axes.length }, (_, axis) =>
        axes.includes(axis) ? 1 : left.shift()!,
      );
      return [{ elemType: n.type(0).elemType, shape: full }];
    },
    evaluate(n) {
      const value = n.constant(0);
      const dims = n.outputShape(0);
      return [value && isConcrete(dims) ? { elemType: value.elemType, dims, values: value.values } : null];
    },
    couple(n, r) {
      const axes = squeezedAxes(n);
      const longer = type === 'Squeeze' ? n.shape(0).length : n.outputShape(0).length;
      for (const [long, short] of pairs(longer, axes)) {
        if (type === 'Squeeze') r.same(n.axis(0, long), n.outputAxis(0, short));
        else r.same(n.axis(0, short), n.outputAxis(0, long));
      }
      return undefined;
    },
    zero: () => 'zero',
    forward(n, engine) {
      const axes = squeezedAxes(n).sort((a, b) => (type === 'Squeeze' ? b - a : a - b));
      const step = engine.op(type === 'Squeeze' ? 'squeeze.dim' : 'unsqueeze');
      return ([x]) => axes.reduce((y, axis) => step(y, axis), x!);
    },
  });

/** https://onnx.ai/onnx/operators/onnx__Squeeze.html (1, 11, 13, 21) */
export const Squeeze = reshaping('Squeeze');
/** https://onnx.ai/onnx/operators/onnx__Unsqueeze.html (1, 11, 13, 21) */
export const Unsqueeze = reshaping('Unsqueeze');
