import { broadcastShapes } from '../graph/axes.ts';
import {
  bias,
  type NodeView,
  type Operator,
  operator,
  quantisation,
  type Relations,
  type Role,
  type Shape,
  weight,
} from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { convolved, costOfConvolution, coupleConvolution, cutGroups } from './conv.ts';
import { keepAll } from './families/whole.ts';

/** Convolutions and matrix products of integer codes: a removed channel is one whose weights are the code of zero. */

/** Places of the operands. */
interface Places {
  readonly weight: number;
  readonly scale: number | null;
  readonly zeroPoint: number;
  readonly bias?: number;
  /** The other scales and zero points. */
  readonly others: readonly number[];
  /** Input that has the output's type; null: INT32. */
  readonly typed: number | null;
}

const quantised: Places = { weight: 3, scale: 4, zeroPoint: 5, bias: 8, others: [1, 2, 6, 7], typed: 7 };
const accumulated: Places = { weight: 1, scale: null, zeroPoint: 3, others: [2], typed: null };

const outputType = (n: NodeView, { typed }: Places): number =>
  typed === null ? DataType.INT32 : n.has(typed) ? n.type(typed).elemType : n.type(0).elemType;

const roles = ({ weight: w, scale, zeroPoint, bias: b, others }: Places, axes: { out: number; in: number }) => {
  const settings = [scale, zeroPoint, ...others].filter(input => input !== null);
  const found: Record<number, Role> = { [w]: weight({ ...axes, codes: { scale, zeroPoint, axis: axes.out } }) };
  for (const input of settings) found[input] = quantisation;
  if (b !== undefined) found[b] = bias;
  return found;
};

/** Vectors with one element for each output channel. */
const vectorsOf = (n: NodeView, { scale, zeroPoint, bias: b }: Places, channels: Shape[number]): number[] =>
  [scale, zeroPoint, b].filter(
    (input): input is number =>
      input !== null &&
      input !== undefined &&
      n.has(input) &&
      n.shape(input).length === 1 &&
      n.shape(input)[0] === channels,
  );

const convolution = (type: string, places: Places): Operator =>
  operator(type, {
    roles: roles(places, { out: 0, in: 1 }),
    shape: n => [{ elemType: outputType(n, places), shape: convolved(n, { weight: places.weight, vectors: [] }) }],
    couple(n, r) {
      if (!n.isConstant(places.weight)) return keepAll(n, r, 'has a weight that is no constant');
      coupleConvolution(n, r, { weight: places.weight, vectors: vectorsOf(n, places, n.shape(places.weight)[0]) });
      return undefined;
    },
    cost: n => costOfConvolution(n, { weight: places.weight, vectors: [] }),
    cut: (n, kept) => cutGroups(n, kept, { weight: places.weight, vectors: [] }),
  });

/** Shape of a matrix product. */
function multiplied(a: Shape, b: Shape): Shape {
  const rows = a.length > 1 ? [a[a.length - 2]] : [];
  const columns = b.length > 1 ? [b[b.length - 1]] : [];
  return [...broadcastShapes(a.slice(0, -2), b.slice(0, -2)), ...rows, ...columns];
}

/** A product with a constant matrix on the right. */
function coupleProduct(n: NodeView, r: Relations, places: Places): undefined {
  const { weight: w } = places;
  const shape = n.shape(w);
  if (!n.isConstant(w) || shape.length !== 2) return keepAll(n, r, 'multiplies something else than a constant matrix');
  const last = n.shape(0).length - 1;
  for (let axis = 0; axis < last; axis++) r.same(n.axis(0, axis), n.outputAxis(0, axis));
  r.same(n.axis(0, last), n.axis(w, 0));
  r.same(n.axis(w, 1), n.outputAxis(0, last));
  r.sums(0, last);
  r.sums(w, 0);
  for (const vector of vectorsOf(n, places, shape[1])) r.same(n.axis(vector, 0), n.axis(w, 1));
  // One scale for each row of the data.
  for (const input of places.others) {
    const rank = n.has(input) ? n.shape(input).length : 0;
    for (let axis = 0; axis < rank; axis++) r.wall(n.axis(input, axis), `${n.opType} '${n.name}' scales rows by it`);
    if (rank > 0 && n.shape(input).some(dim => dim !== 1) && last > 0) {
      r.wall(n.axis(0, last - 1), `${n.opType} '${n.name}' scales it row by row`);
    }
  }
}

const product = (type: string, places: Places): Operator =>
  operator(type, {
    roles: roles(places, { out: 1, in: 0 }),
    shape: n => [{ elemType: outputType(n, places), shape: multiplied(n.shape(0), n.shape(places.weight)) }],
    couple: (n, r) => coupleProduct(n, r, places),
    cost: n => [{ coefficient: 1, axes: [n.axis(0, -1), ...n.outputShape(0).map((_, axis) => n.outputAxis(0, axis))] }],
  });

/** https://onnx.ai/onnx/operators/onnx__QLinearConv.html and its like (10; QLinearMatMul 10, 21) */
export const integers: readonly Operator[] = [
  convolution('QLinearConv', quantised),
  convolution('ConvInteger', accumulated),
  product('QLinearMatMul', { ...quantised, bias: undefined }),
  product('MatMulInteger', accumulated),
];

/** A Gemm of codes. https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md (com.microsoft 1) */
const gemm: Places = { weight: 3, scale: 4, zeroPoint: 5, bias: 6, others: [1, 2, 7, 8], typed: 8 };

export const QGemm: Operator = operator('QGemm', {
  domain: 'com.microsoft',
  roles: n => roles(gemm, n.int('transB', 0) ? { out: 0, in: 1 } : { out: 1, in: 0 }),
  shape(n) {
    const rows = n.shape(0)[n.int('transA', 0) ? 1 : 0];
    const columns = n.shape(3)[n.int('transB', 0) ? 0 : 1];
    const elemType = n.has(8) ? n.type(8).elemType : DataType.FLOAT;
    return [{ elemType, shape: [rows, columns] }];
  },
  couple(n, r) {
    if (!n.isConstant(3)) return keepAll(n, r, 'has a weight that is no constant');
    const [inner, rows] = n.int('transA', 0) ? [0, 1] : [1, 0];
    const [k, out] = n.int('transB', 0) ? [1, 0] : [0, 1];
    r.same(n.axis(0, rows), n.outputAxis(0, 0));
    r.same(n.axis(0, inner), n.axis(3, k));
    r.same(n.axis(3, out), n.outputAxis(0, 1));
    r.sums(0, inner);
    r.sums(3, k);
    for (const vector of vectorsOf(n, gemm, n.shape(3)[out])) r.same(n.axis(vector, 0), n.axis(3, out));
    return undefined;
  },
  cost: n => [{ coefficient: 1, axes: [n.outputAxis(0, 0), n.axis(3, 0), n.axis(3, 1)] }],
});
