import { product, unknown } from '../graph/axes.ts';
import type { Tensor } from '../graph/engine.ts';
import { type Dim, type Kept, type NodeView, operator, type Shape, shapeVector } from '../graph/operator.ts';
import { coupleRegrouped } from './families/regroup.ts';

/** The requested shape with 0 and -1 resolved. */
function resolve(n: NodeView): Shape {
  const from = n.shape(0);
  const target = n.constant(1)?.values ?? unknown();
  const copied: Dim[] = target.map((dim, axis) => (dim === 0 && !n.int('allowzero', 0) ? from[axis] : dim));
  const free = copied.indexOf(-1);
  if (free < 0) return copied;
  const rest = copied.filter((_, axis) => axis !== free);
  const symbols = (shape: Shape) => shape.filter(dim => typeof dim === 'string');
  const numbers = (shape: Shape) => shape.filter(dim => typeof dim === 'number');
  const left = [...symbols(from)];
  for (const symbol of symbols(rest)) {
    const at = left.indexOf(symbol);
    if (at < 0) unknown();
    left.splice(at, 1);
  }
  const quotient = product(numbers(from)) / product(numbers(rest));
  if (!Number.isInteger(quotient) || left.length > 1 || (left.length === 1 && quotient !== 1)) unknown();
  return copied.map(dim => (dim === -1 ? (left[0] ?? quotient) : dim));
}

/**
 * How to compute the target at run time: symbolic lengths are read off the input.
 * @param to the output's shape
 * @throws UnknownShape when several of its lengths are not in the input's
 */
export function targetAt(from: Shape, to: Shape): (x: Tensor) => readonly number[] {
  const sources = to.map(dim => (typeof dim === 'string' ? from.indexOf(dim) : -1));
  if (to.filter((dim, axis) => typeof dim === 'string' && sources[axis] < 0).length > 1) unknown();
  return x => to.map((dim, axis) => (typeof dim === 'number' ? dim : sources[axis] >= 0 ? x.shape[sources[axis]] : -1));
}

/** The target anew where a length that a cut shortens is written into it. */
function cutTarget(n: NodeView, kept: Kept): readonly number[] | null {
  const target = n.constant(1)?.values;
  if (!target) return null;
  const from = n.shape(0);
  const to = n.outputShape(0);
  const lengths = to.map((_, axis) => kept(n.outputAxis(0, axis))?.length ?? null);
  if (!lengths.some((length, axis) => length !== null && Number(target[axis]) > 0)) return null;
  const zeroCopies = n.int('allowzero', 0) === 0;
  let free = target.includes(-1);
  return target.map((dim, axis) => {
    if (dim === -1 || dim === 0) return dim;
    if (lengths[axis] !== null) return lengths[axis];
    if (typeof dim === 'number') return dim;
    if (from[axis] === dim && zeroCopies) return 0;
    if (free) return unknown();
    free = true;
    return -1;
  });
}

/** https://onnx.ai/onnx/operators/onnx__Reshape.html (5, 13, 14, 19, 21) */
export const Reshape = operator('Reshape', {
  roles: { 1: shapeVector },
  late: true,
  shape: n => [{ elemType: n.type(0).elemType, shape: resolve(n) }],
  evaluate(n) {
    const value = n.constant(0);
    const dims = resolve(n);
    return [value && dims.every(dim => typeof dim === 'number') ? { ...value, dims: dims as number[] } : null];
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
  cut(n, kept) {
    const target = cutTarget(n, kept);
    return target && { constants: { 1: target } };
  },
});
