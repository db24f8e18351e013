import { known, normalAxis } from '../graph/axes.ts';
import { isReal } from '../graph/constants.ts';
import { isConcrete, numericPart, productOf } from '../graph/dims.ts';
import { type Dim, type NodeView, type Operator, operator, shapeVector } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { untrainable } from './families/untrainable.ts';
import { keepAll, keepInputs, opaque } from './families/whole.ts';

/** Operators that choose by comparing values, so that a rounding may change the outcome altogether. */

const argument = (type: 'ArgMax' | 'ArgMin', aten: string): Operator => {
  const axisOf = (n: NodeView) => normalAxis(n.int('axis', 0), n.shape(0).length);
  return operator(type, {
    discrete: true,
    shape(n) {
      const keep = n.int('keepdims', 1);
      const shape = n.shape(0).flatMap((dim, axis) => (axis !== axisOf(n) ? [dim] : keep ? [1] : []));
      return [{ elemType: DataType.INT64, shape }];
    },
    couple(n, r) {
      const axis = axisOf(n);
      const shift = n.int('keepdims', 1) ? 0 : 1;
      for (const a of n.shape(0).keys()) {
        if (a === axis) r.wall(n.axis(0, a), `${type} '${n.name}' gives an index into it`);
        else r.same(n.axis(0, a), n.outputAxis(0, a > axis ? a - shift : a));
      }
      return undefined;
    },
    zero: () => 'constant',
    forward(n, engine) {
      if (n.int('select_last_index', 0)) throw untrainable(n, 'it takes the last of equals');
      const call = engine.op(aten);
      const [axis, keep] = [axisOf(n), n.int('keepdims', 1) === 1];
      return ([x]) => call(x, axis, keep);
    },
  });
};

/** https://onnx.ai/onnx/operators/onnx__ArgMax.html (1, 11, 12, 13) */
export const ArgMax = argument('ArgMax', 'argmax');
/** https://onnx.ai/onnx/operators/onnx__ArgMin.html (1, 11, 12, 13) */
export const ArgMin = argument('ArgMin', 'argmin');

/** The largest elements along an axis and their places. https://onnx.ai/onnx/operators/onnx__TopK.html (1, 10, 11, 24) */
export const TopK = operator('TopK', {
  roles: { 1: shapeVector },
  discrete: true,
  shape(n) {
    const axis = normalAxis(n.int('axis', -1), n.shape(0).length);
    const count: Dim =
      n.attribute('k') === undefined ? (n.constant(1)?.values[0] ?? `${n.outputs[0]}_${axis}`) : n.int('k', 0);
    const shape = n.shape(0).with(axis, count);
    return [
      { elemType: n.type(0).elemType, shape },
      { elemType: DataType.INT64, shape },
    ];
  },
  couple(n, r) {
    const axis = normalAxis(n.int('axis', -1), n.shape(0).length);
    for (const [i, output] of n.outputs.entries()) {
      if (!output) continue;
      for (const a of n.shape(0).keys()) {
        if (a !== axis) r.same(n.axis(0, a), n.outputAxis(i, a));
        else for (const ref of [n.axis(0, a), n.outputAxis(i, a)]) r.wall(ref, `TopK '${n.name}' chooses along it`);
      }
    }
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const axis = normalAxis(n.int('axis', -1), n.shape(0).length);
    const count = known(n.outputShape(0)[axis]);
    // Of equals the first counts, which libtorch's own topk does not promise.
    const sort = engine.ops('sort.stable');
    const narrow = engine.op('narrow');
    const largest = n.int('largest', 1) === 1;
    return ([x]) => sort(x, true, axis, largest).map(all => narrow(all, axis, 0, count));
  },
});

/** Boxes that are left: [number, 3] of batch, class and box. https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html (10, 11) */
export const NonMaxSuppression = opaque(
  'NonMaxSuppression',
  n => [{ elemType: DataType.INT64, shape: [`${n.outputs[0]}_0`, 3] }],
  { discrete: true, why: 'gives indices into it' },
);

/** Indices of the elements that are not zero, in the order of the elements. */
function nonZero(n: NodeView): number[][] | null {
  const value = n.constant(0);
  if (!value || value.values.some(element => typeof element === 'string')) return null;
  return value.values.flatMap((element, flat) => {
    if (!element) return [];
    const index: number[] = [];
    let rest = flat;
    for (const dim of value.dims.toReversed()) {
      index.unshift(rest % dim);
      rest = Math.floor(rest / dim);
    }
    return [index];
  });
}

/** https://onnx.ai/onnx/operators/onnx__NonZero.html (9, 13) */
export const NonZero = opaque(
  'NonZero',
  n => [{ elemType: DataType.INT64, shape: [n.shape(0).length, nonZero(n)?.length ?? `${n.outputs[0]}_1`] }],
  {
    discrete: true,
    why: 'gives indices into it',
    evaluate(n) {
      const found = nonZero(n);
      if (!found) return [null];
      const rank = n.shape(0).length;
      const values = Array.from({ length: rank }, (_, axis) => found.map(index => index[axis])).flat();
      return [{ elemType: DataType.INT64, dims: [rank, found.length], values }];
    },
  },
);

/** https://onnx.ai/onnx/operators/onnx__Unique.html (11) */
export const Unique = opaque(
  'Unique',
  n => {
    const count = `${n.outputs[0] || n.name}_0`;
    const axis = n.attribute('axis') === undefined ? null : normalAxis(n.int('axis', 0), n.shape(0).length);
    const shape: Dim[] = axis === null ? [count] : [...n.shape(0).with(axis, count)];
    const all: Dim = axis === null ? `${n.name}_all` : n.shape(0)[axis];
    const lengths: readonly Dim[] = [count, all, count];
    return [
      { elemType: n.type(0).elemType, shape },
      ...lengths.map(length => ({ elemType: DataType.INT64 as number, shape: [length] })),
    ];
  },
  { discrete: true, why: 'compares along it' },
);

/** What is left where a condition holds. https://onnx.ai/onnx/operators/onnx__Compress.html (9, 11) */
export const Compress = operator('Compress', {
  roles: { 1: shapeVector },
  shape(n) {
    const axis = n.attribute('axis') === undefined ? null : normalAxis(n.int('axis', 0), n.shape(0).length);
    const count: Dim = n.constantInts(1)?.filter(Boolean).length ?? `${n.outputs[0]}_${axis ?? 0}`;
    return [{ elemType: n.type(0).elemType, shape: axis === null ? [count] : n.shape(0).with(axis, count) }];
  },
  couple(n, r) {
    if (n.attribute('axis') === undefined) return keepAll(n, r, 'picks from all of it');
    const axis = normalAxis(n.int('axis', 0), n.shape(0).length);
    for (const a of n.shape(0).keys()) {
      if (a !== axis) r.same(n.axis(0, a), n.outputAxis(0, a));
      else for (const ref of [n.axis(0, a), n.outputAxis(0, a)]) r.wall(ref, `Compress '${n.name}' picks from it`);
    }
    r.wall(n.axis(1, 0), `Compress '${n.name}' picks by it`);
    return undefined;
  },
  zero: () => 'zero',
});

/** Numbers from start to limit. https://onnx.ai/onnx/operators/onnx__Range.html (11) */
export const Range = opaque(
  'Range',
  n => {
    const [start, limit, step] = [0, 1, 2].map(input => n.constant(input)?.values[0]);
    const { elemType } = n.type(0);
    // A range up to a symbolic length has that length.
    if (typeof limit === 'string' && start === 0 && step === 1) return [{ elemType, shape: [limit] }];
    return [{ elemType, shape: [rangeOf(n)?.length ?? `${n.outputs[0]}_0`] }];
  },
  {
    why: 'makes it of numbers',
    evaluate(n) {
      const values = rangeOf(n);
      return [values && { elemType: n.type(0).elemType, dims: [values.length], values }];
    },
  },
);

function rangeOf(n: NodeView): number[] | null {
  const [start, limit, step] = [0, 1, 2].map(input => n.constant(input)?.values[0]);
  if (typeof start !== 'number' || typeof limit !== 'number' || typeof step !== 'number') return null;
  const length = Math.max(0, Math.ceil((limit - start) / step));
  if (!(length <= (isReal(n.type(0).elemType) ? 64 : 65_536))) return null;
  return Array.from({ length }, (_, i) => start + i * step);
}

/** The number of elements. https://onnx.ai/onnx/operators/onnx__Size.html (1, 13, 19, 21, 23, 24) */
export const Size = operator('Size', {
  shape: () => [{ elemType: DataType.INT64, shape: [] }],
  evaluate(n) {
    const count = productOf(n.shape(0));
    if (typeof count === 'string' && numericPart(count) !== 1) return [null];
    return [{ elemType: DataType.INT64, dims: [], values: [count] }];
  },
  // As with Shape, a length is read, not a channel; but what is left of a product with an open one is no number.
  couple(n, r) {
    if (n.constant(0) || isConcrete(n.shape(0))) return;
    keepInputs(n, r, 'counts it together with axes of unknown length');
  },
});
