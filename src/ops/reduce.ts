import { axesOf, normalAxis } from '../graph/axes.ts';
import { type NodeView, type Operator, operator, shapeVector } from '../graph/operator.ts';

/** The axes that are reduced, from the start. */
function reduced(n: NodeView): number[] {
  const rank = n.shape(0).length;
  const axes = axesOf(n, 1);
  if (axes && (axes.length || n.int('noop_with_empty_axes', 0))) return axes.map(axis => normalAxis(axis, rank));
  return n.int('noop_with_empty_axes', 0) ? [] : Array.from({ length: rank }, (_, axis) => axis);
}

/** @param sums whether a channel of zeros adds nothing along the reduced axes */
const reduce = (type: string, aten: string, sums: boolean): Operator =>
  operator(type, {
    roles: { 1: shapeVector },
    shape(n) {
      const axes = reduced(n);
      const keep = n.int('keepdims', 1);
      const shape = n.shape(0).flatMap((dim, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [dim]));
      return [{ elemType: n.type(0).elemType, shape }];
    },
    couple(n, r) {
      const axes = reduced(n);
      const keep = n.int('keepdims', 1);
      let out = 0;
      n.shape(0).forEach((_, axis) => {
        if (!axes.includes(axis)) r.same(n.axis(0, axis), n.outputAxis(0, out));
        else if (sums) r.sums(0, axis);
        else r.wall(n.axis(0, axis), `${type} '${n.name}' reduces over it`);
        if (!axes.includes(axis) || keep) out++;
      });
      return undefined;
    },
    zero: () => 'zero',
    forward(n, engine) {
      const call = engine.op(aten);
      const axes = reduced(n);
      const keep = n.int('keepdims', 1) === 1;
      return ([x]) => (axes.length ? call(x, axes, keep) : x!);
    },
  });

/** https://onnx.ai/onnx/operators/onnx__ReduceMean.html and its like (1, 11, 13, 18) */
export const reductions: readonly Operator[] = [
  reduce('ReduceMean', 'mean.dim', false),
  reduce('ReduceMax', 'amax', false),
  reduce('ReduceMin', 'amin', false),
  reduce('ReduceSum', 'sum.dim_IntList', true),
];
