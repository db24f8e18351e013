import { broadcastShapes, unknown } from '../graph/axes.ts';
import { lengthAt } from '../graph/dims.ts';
import { type Follow, type Kept, type NodeView, operator, type Shape, shapeVector } from '../graph/operator.ts';
import { isInteger } from '../onnx/index.ts';
import { coupleBroadcast } from './families/broadcast.ts';
import { broadcastIndex } from './families/elementwise.ts';

const targetOf = (n: NodeView): Shape => n.constant(1)?.values ?? unknown();

/** The input's length along an axis of the output; 1 where it has no such axis. */
const lengthBefore = (n: NodeView, axis: number) => n.shape(0)[axis - n.outputShape(0).length + n.shape(0).length] ?? 1;

/**
 * The target anew where an axis that a cut shortens is written into it; where the input has a symbolic length already
 * the target may say 1.
 */
function cutTarget(n: NodeView, kept: Kept): Follow | null {
  const target = targetOf(n);
  const first = n.outputShape(0).length - target.length;
  const lengths = target.map((dim, i) => (dim === 1 ? null : (kept(n.outputAxis(0, first + i))?.length ?? null)));
  if (lengths.every(length => length === null)) return null;
  const values = target.map((dim, i) => {
    if (typeof dim === 'number') return lengths[i] ?? dim;
    return lengthBefore(n, first + i) === 1 ? null : 1;
  });
  return values.includes(null) ? { lengths: { input: 1, values } } : { constants: { 1: values as number[] } };
}

/** Broadcast to a shape. https://onnx.ai/onnx/operators/onnx__Expand.html (8, 13) */
export const Expand = operator('Expand', {
  roles: { 1: shapeVector },
  shape: n => [{ elemType: n.type(0).elemType, shape: broadcastShapes(n.shape(0), targetOf(n)) }],
  evaluate(n) {
    const value = n.constant(0);
    const target = n.constantInts(1);
    // Real numbers are no lengths: those of a shape that follows a cut are not known before.
    if (!value || !target || !(isInteger(value.elemType) || n.isConstant(1))) return [null];
    const dims = broadcastShapes(value.dims, target) as number[];
    const length = dims.reduce((a, b) => a * b, 1);
    if (length > 4096) return [null];
    const values = Array.from({ length }, (_, flat) => value.values[broadcastIndex(flat, dims, value.dims)]);
    return [{ ...value, dims, values }];
  },
  // The indices of a stretched axis are all equal: any of them can go.
  couple(n, r) {
    targetOf(n);
    coupleBroadcast(n, 0, 0, r);
    for (const [axis, dim] of n.outputShape(0).entries()) {
      // What is left of a product of symbols and numbers is not a number, and not what the graph computes.
      if (typeof dim === 'string' && lengthBefore(n, axis) === 1)
        r.wall(n.outputAxis(0, axis), `Expand '${n.name}' computes its length`);
    }
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const expand = engine.op('expand');
    const target = n.outputShape(0).map((dim, axis) => (dim !== 1 && lengthBefore(n, axis) === dim ? -1 : dim));
    return ([x], { lengths }) =>
      expand(
        x,
        target.map(dim => lengthAt(dim, lengths)),
      );
  },
  cut: cutTarget,
});
