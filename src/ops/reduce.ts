import { axesOf, normalAxis } from '../graph/axes.ts';
import { productOf } from '../graph/dims.ts';
import type { Arg, Engine, Tensor } from '../graph/engine.ts';
import {
  type Const,
  type Dim,
  type NodeView,
  type Operator,
  operator,
  shapeVector,
  type Zero,
} from '../graph/operator.ts';
import { rounded } from './families/elementwise.ts';

/** The axes that are reduced, from the start. */
function reduced(n: NodeView): number[] {
  const rank = n.shape(0).length;
  const axes = axesOf(n, 1);
  if (axes && (axes.length || n.int('noop_with_empty_axes', 0))) return axes.map(axis => normalAxis(axis, rank));
  return n.int('noop_with_empty_axes', 0) ? [] : Array.from({ length: rank }, (_, axis) => axis);
}

/** How libtorch reduces over axes. */
type Reduction = (engine: Engine) => (x: Tensor, axes: readonly number[], keep: boolean) => Tensor;

/** A reduction that libtorch has under one name. */
const direct =
  (aten: string, ...rest: Arg[]): Reduction =>
  engine => {
    const call = engine.op(aten);
    return (x, axes, keep) => call(x, ...rest, axes, keep);
  };

/** The sum of squares. */
const squares: Reduction = engine => {
  const [sum, square] = [engine.op('sum.dim_IntList'), engine.op('square')];
  return (x, axes, keep) => sum(square(x), axes, keep);
};

/** The logarithm of the sum. */
const logOfSum: Reduction = engine => {
  const [sum, log] = [engine.op('sum.dim_IntList'), engine.op('log')];
  return (x, axes, keep) => log(sum(x, axes, keep));
};

/** libtorch multiplies along one axis at a time. */
const products: Reduction = engine => {
  const call = engine.op('prod.dim_int');
  return (x, axes, keep) => [...axes].sort((a, b) => b - a).reduce((y, axis) => call(y, axis, keep), x);
};

/** Numbers and symbols as one; null: not without the symbols' lengths. */
type Total = (values: readonly Dim[]) => Dim | null;

const ofNumbers =
  (total: (...values: number[]) => number): Total =>
  values =>
    values.every(value => typeof value === 'number') ? total(...(values as number[])) : null;

function evaluateVector(n: NodeView, total: Total): Const | null {
  const value = n.constant(0);
  if (value?.dims.length !== 1 || reduced(n).length === 0) return null;
  const result = total(value.values);
  if (result === null) return null;
  const element = typeof result === 'number' ? rounded(result, value.elemType) : result;
  return { ...value, dims: n.int('keepdims', 1) ? [1] : [], values: [element] };
}

interface Rest {
  readonly zero?: Zero;
  readonly total?: Total;
}

/** @param sums whether a channel of zeros adds nothing along the reduced axes */
const reduce = (type: string, reduction: Reduction, sums: boolean, { zero = 'zero', total }: Rest = {}): Operator =>
  operator(type, {
    roles: { 1: shapeVector },
    shape(n) {
      const axes = reduced(n);
      const keep = n.int('keepdims', 1);
      const shape = n.shape(0).flatMap((dim, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [dim]));
      return [{ elemType: n.type(0).elemType, shape }];
    },
    // Of a vector of lengths only.
    evaluate: total && (n => [evaluateVector(n, total)]),
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
    zero: () => zero,
    forward(n, engine) {
      const call = reduction(engine);
      const axes = reduced(n);
      const keep = n.int('keepdims', 1) === 1;
      return ([x]) => (axes.length ? call(x!, axes, keep) : x!);
    },
  });

/** https://onnx.ai/onnx/operators/onnx__ReduceMean.html and its like (1, 11, 12, 13, 18, 20) */
export const reductions: readonly Operator[] = [
  reduce('ReduceMean', direct('mean.dim'), false),
  reduce('ReduceMax', direct('amax'), false, { total: ofNumbers(Math.max) }),
  reduce('ReduceMin', direct('amin'), false, { total: ofNumbers(Math.min) }),
  reduce('ReduceProd', products, false, { total: productOf }),
  reduce('ReduceSum', direct('sum.dim_IntList'), true, {
    total: ofNumbers((...values) => values.reduce((a, b) => a + b, 0)),
  }),
  reduce('ReduceL1', direct('linalg_vector_norm', 1), true),
  reduce('ReduceL2', direct('linalg_vector_norm', 2), true),
  reduce('ReduceSumSquare', squares, true),
  reduce('ReduceLogSum', logOfSum, true, { zero: 'constant' }),
  reduce('ReduceLogSumExp', direct('logsumexp'), false, { zero: 'constant' }),
];
