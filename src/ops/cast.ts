import { isReal } from '../graph/constants.ts';
import { operator } from '../graph/operator.ts';
import { DataType, dataTypeName, isInteger } from '../onnx/index.ts';
import { coupleBroadcast } from './families/broadcast.ts';
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

/** https://onnx.ai/onnx/operators/onnx__Cast.html (6, 9, 13, 19, 21) */
export const Cast = operator('Cast', {
  shape: n => [{ elemType: n.int('to', DataType.FLOAT), shape: n.type(0).shape }],
  evaluate(n) {
    const value = n.constant(0);
    if (!value) return [null];
    const to = n.int('to', DataType.FLOAT);
    const convert = (x: number | string) => {
      if (typeof x === 'string' || !isInteger(to)) return x;
      return to === DataType.BOOL ? Number(x !== 0) : Math.trunc(x);
    };
    return [{ ...value, elemType: to, values: value.values.map(convert) }];
  },
  couple(n, r) {
    coupleBroadcast(n, 0, 0, r);
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const to = n.int('to', DataType.FLOAT);
    // Training computes in float32: casts between types of real numbers change nothing.
    const type = scalarType[isReal(to) ? DataType.FLOAT : to] ?? null;
    if (type === null) throw untrainable(n, `there are no tensors of ${dataTypeName(to)}`);
    const convert = engine.op('to.dtype');
    return ([x]) => convert(x, type);
  },
});
