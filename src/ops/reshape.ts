import { unknown } from '../graph/axes.ts';
import {
  factorsOf,
  isConcrete,
  numericPart,
  productOf,
  quotientOf,
  sameLength,
  symbolsOf,
  withNumericPart,
} from '../graph/dims.ts';
import type { Tensor } from '../graph/engine.ts';
import {
  type Dim,
  type Follow,
  type Kept,
  type NodeView,
  type OpenLength,
  operator,
  type Shape,
  shapeVector,
} from '../graph/operator.ts';
import { coupleRegrouped, laidOut } from './families/regroup.ts';

/** The requested shape with 0 and -1 resolved. */
function resolve(n: NodeView): Shape {
  const from = n.shape(0);
  const target = n.constant(1)?.values ?? unknown();
  const copied: Dim[] = target.map((dim, axis) => (dim === 0 && !n.int('allowzero', 0) ? from[axis] : dim));
  const free = copied.indexOf(-1);
  if (free >= 0) {
    const rest = copied.filter((_, axis) => axis !== free);
    copied[free] = quotientOf(productOf(from), productOf(rest)) ?? unknown();
  }
  return laidOut(copied, from);
}

/**
 * How to compute the target at run time: symbols are read off the input.
 * @param to the output's shape
 * @throws UnknownShape when several of its lengths are not in the input's
 */
export function targetAt(from: Shape, to: Shape): (x: Tensor) => readonly number[] {
  const axisOf = new Map<string, number>();
  from.forEach((dim, axis) => {
    const symbols = symbolsOf(dim);
    if (symbols.length === 1 && !axisOf.has(symbols[0])) axisOf.set(symbols[0], axis);
  });
  const isKnown = (dim: Dim) => symbolsOf(dim).every(symbol => axisOf.has(symbol));
  if (to.filter(dim => !isKnown(dim)).length > 1) unknown();
  const lengthOf = (x: Tensor, factor: Dim): number => {
    if (typeof factor === 'number') return factor;
    const axis = axisOf.get(factor)!;
    return x.shape[axis] / numericPart(from[axis]);
  };
  return x =>
    to.map(dim =>
      typeof dim === 'number'
        ? dim
        : isKnown(dim)
          ? factorsOf(dim).reduce<number>((product, factor) => product * lengthOf(x, factor), 1)
          : -1,
    );
}

/**
 * The target anew where a length that a cut changes is written into it: with 0 for what is copied and at most one -1;
 * what is left is read off the target that the graph computes.
 * @throws UnknownShape where that does not say it
 */
function cutTarget(n: NodeView, kept: Kept): Follow | null {
  const target = n.constant(1)?.values;
  if (!target) return null;
  const after = (dim: Dim, left: readonly number[] | null): Dim => (left ? withNumericPart(dim, left.length) : dim);
  const before = n.outputShape(0);
  const from = n.shape(0).map((dim, axis) => after(dim, kept(n.axis(0, axis))));
  const to = before.map((dim, axis) => after(dim, kept(n.outputAxis(0, axis))));
  const isWritten = (axis: number) => target[axis] !== -1 && target[axis] !== 0;
  if (!to.some((dim, axis) => dim !== before[axis] && isWritten(axis))) return null;
  const zeroCopies = n.int('allowzero', 0) === 0;
  let free = target.includes(-1);
  const values = to.map((dim, axis): OpenLength => {
    if (!isWritten(axis)) return target[axis] as number;
    if (typeof dim === 'number') return dim;
    if (zeroCopies && dim === from[axis]) return 0;
    if (!free) {
      free = true;
      return -1;
    }
    const source = from.findIndex(other => symbolsOf(other).join() === symbolsOf(dim).join());
    if (source >= 0) return { axis: source, times: numericPart(dim), over: numericPart(from[source]) };
    return sameLength(dim, before[axis]) ? null : unknown();
  });
  return values.every(value => typeof value === 'number')
    ? { constants: { 1: values } }
    : { lengths: { input: 1, values } };
}

/** https://onnx.ai/onnx/operators/onnx__Reshape.html (5, 13, 14, 19, 21) */
export const Reshape = operator('Reshape', {
  roles: { 1: shapeVector },
  moves: () => null,
  shape: n => [{ elemType: n.type(0).elemType, shape: resolve(n) }],
  evaluate(n) {
    const value = n.constant(0);
    const dims = resolve(n);
    return [value && isConcrete(dims) ? { elemType: value.elemType, dims, values: value.values } : null];
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
  cut: cutTarget,
});
