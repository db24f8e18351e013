import { known, normalAxis, unknown } from '../graph/axes.ts';
import { type NodeView, operator, shapeVector, WrongNode } from '../graph/operator.ts';

const axisOf = (n: NodeView): number => normalAxis(n.int('axis', 0), n.shape(0).length);

/**
 * Length of each part: an attribute, an input (operator set 13), or even parts of which the last may be shorter.
 * @throws UnknownShape for an input that is computed, or that a caller may replace
 */
function sizesOf(n: NodeView): readonly number[] {
  const given = n.ints('split') ?? (n.has(1) ? (n.constantInts(1) ?? unknown()) : null);
  const total = n.shape(0)[axisOf(n)];
  if (given) {
    const isWhole = typeof total === 'string' || given.reduce((a, b) => a + b, 0) === total;
    if (isWhole && given.length === n.outputs.length && given.every(size => size >= 0)) return given;
    throw new WrongNode(`splits ${total} into [${given.join(', ')}] for ${n.outputs.length} outputs`);
  }
  const length = known(total);
  const part = Math.ceil(length / n.outputs.length);
  return n.outputs.map((_, i) => Math.min(part, length - i * part));
}

/** Where each part starts. */
const startsOf = (sizes: readonly number[]): number[] =>
  sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0));

/** https://onnx.ai/onnx/operators/onnx__Split.html (2, 11, 13, 18) */
export const Split = operator('Split', {
  roles: { 1: shapeVector },
  shape(n) {
    const axis = axisOf(n);
    return sizesOf(n).map(size => ({ elemType: n.type(0).elemType, shape: n.shape(0).with(axis, size) }));
  },
  evaluate(n) {
    const value = n.constant(0);
    if (value?.dims.length !== 1) return [null];
    const sizes = sizesOf(n);
    return startsOf(sizes).map((start, i) => ({
      ...value,
      dims: [sizes[i]],
      values: value.values.slice(start, start + sizes[i]),
    }));
  },
  couple(n, r) {
    const axis = axisOf(n);
    for (const [i, start] of startsOf(sizesOf(n)).entries()) {
      if (!n.outputs[i]) continue;
      for (const a of n.shape(0).keys()) {
        if (a === axis) r.map(n.outputAxis(i, a), n.axis(0, a), index => start + index);
        else r.same(n.axis(0, a), n.outputAxis(i, a));
      }
    }
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const split = engine.ops('split_with_sizes');
    const [sizes, axis] = [sizesOf(n), axisOf(n)];
    return ([x]) => split(x, sizes, axis);
  },
  cut(n, kept) {
    const axis = axisOf(n);
    const left = kept(n.axis(0, axis));
    if (!left) return null;
    const sizes = sizesOf(n);
    const shorter = startsOf(sizes).map(
      (start, i) => left.filter(index => index >= start && index < start + sizes[i]).length,
    );
    if (n.version < 13) return { attributes: { split: shorter } };
    return { attributes: { num_outputs: undefined }, constants: { 1: shorter } };
  },
});
