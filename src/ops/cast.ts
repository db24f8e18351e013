import { isReal } from '../graph/constants.ts';
import { type NodeView, type Operator, operator } from '../graph/operator.ts';
import { DataType, dataTypeName, isInteger } from '../onnx/index.ts';
import { coupleBroadcast } from './families/broadcast.ts';
import { rounded } from './families/elementwise.ts';
import { untrainable } from './families/untrainable.ts';

/** ONNX element types as libtorch's ScalarType; half and double precision are trained as float32. */
const scalarType: Readonly<Record<number, number>> = {
  [DataType.UINT8]: 0,
  [DataType.INT8]: 1,
  [DataType.INT16]: 2,
  [DataType.INT32]: 3,
  [DataType.INT64]: 4,
  [DataType.FLOAT]: 6,
  [DataType.BOOL]: 11,
};

/** @param target the element type to convert to */
const casting = (type: string, target: (n: NodeView) => number): Operator =>
  operator(type, {
    shape: n => [{ elemType: target(n), shape: n.type(0).shape }],
    evaluate(n) {
      const value = n.constant(0);
      if (!value) return [null];
      const to = target(n);
      if (!isReal(to) && !isInteger(to)) return [null];
      const convert = (x: number | string) => {
        if (typeof x === 'string') return x;
        if (!isInteger(to)) return rounded(x, to);
        return to === DataType.BOOL ? Number(x !== 0) : Math.trunc(x);
      };
      return [{ ...value, elemType: to, values: value.values.map(convert) }];
    },
    couple(n, r) {
      coupleBroadcast(n, 0, 0, r);
      return undefined;
    },
    // A truth value cannot be masked, a number can.
    zero: n => (n.type(0).elemType === DataType.BOOL ? 'constant' : 'zero'),
    forward(n, engine) {
      const to = target(n);
      // Training computes in float32: casts between types of real numbers change nothing.
      const type = scalarType[isReal(to) ? DataType.FLOAT : to] ?? null;
      if (type === null) throw untrainable(n, `there are no tensors of ${dataTypeName(to)}`);
      const convert = engine.op('to.dtype');
      return ([x]) => convert(x, type);
    },
  });

/** https://onnx.ai/onnx/operators/onnx__Cast.html (6, 9, 13, 19, 21, 23, 24, 25) */
export const Cast = casting('Cast', n => n.int('to', DataType.FLOAT));
/** To the type of another value. https://onnx.ai/onnx/operators/onnx__CastLike.html (15, 19, 21, 23, 24, 25) */
export const CastLike = casting('CastLike', n => n.type(1).elemType);
