import { known, normalAxis, unknown } from '../graph/axes.ts';
import { type Dim, type NodeView, type Operator, operator, shapeVector } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { opaque } from './families/whole.ts';

/** Operators that go by the place of an element, not only by its value. */

/** The diagonal from which on Trilu keeps. */
const diagonalOf = (n: NodeView): number => (n.has(1) ? Number(n.constantInts(1)?.[0] ?? unknown()) : 0);

/** https://onnx.ai/onnx/operators/onnx__Trilu.html (14) */
export const Trilu = operator('Trilu', {
  roles: { 1: shapeVector },
  shape: n => [n.type(0)],
  evaluate(n) {
    const value = n.constant(0);
    if (!value) return [null];
    const [rows, columns] = value.dims.slice(-2);
    const k = diagonalOf(n);
    const isKept = (flat: number) => {
      const offset = (flat % columns) - (Math.floor(flat / columns) % rows);
      return n.int('upper', 1) ? offset >= k : offset <= k;
    };
    return [{ ...value, values: value.values.map((element, flat) => (isKept(flat) ? element : 0)) }];
  },
  couple(n, r) {
    const rank = n.shape(0).length;
    for (const a of n.shape(0).keys()) {
      r.same(n.axis(0, a), n.outputAxis(0, a));
      if (a >= rank - 2) r.wall(n.axis(0, a), `Trilu '${n.name}' goes by the place along it`);
    }
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const call = engine.op(n.int('upper', 1) ? 'triu' : 'tril');
    const k = diagonalOf(n);
    return ([x]) => call(x, k);
  },
});

/** https://onnx.ai/onnx/operators/onnx__EyeLike.html (9, 22) */
const EyeLike = opaque('EyeLike', n => [{ elemType: n.int('dtype', n.type(0).elemType), shape: n.type(0).shape }], {
  why: 'goes by the place along it',
});

/** https://onnx.ai/onnx/operators/onnx__OneHot.html (9, 11) */
const OneHot = operator('OneHot', {
  roles: { 1: shapeVector },
  shape(n) {
    const shape: Dim[] = [...n.shape(0)];
    const axis = normalAxis(n.int('axis', -1), shape.length + 1);
    const depth = n.constant(1)?.values[0];
    const length: Dim = typeof depth === 'number' ? Math.trunc(depth) : (depth ?? `${n.outputs[0]}_${axis}`);
    return [{ elemType: n.type(2).elemType, shape: shape.toSpliced(axis, 0, length) }];
  },
  couple(n, r) {
    const rank = n.shape(0).length;
    const axis = normalAxis(n.int('axis', -1), rank + 1);
    for (let a = 0; a < rank; a++) r.same(n.axis(0, a), n.outputAxis(0, a < axis ? a : a + 1));
    for (const ref of [n.outputAxis(0, axis), n.axis(2, 0)]) r.wall(ref, `OneHot '${n.name}' makes it of its indices`);
    return undefined;
  },
});

/** https://onnx.ai/onnx/operators/onnx__ReverseSequence.html (10) */
const ReverseSequence = operator('ReverseSequence', {
  shape: n => [n.type(0)],
  couple(n, r) {
    const [batch, time] = [n.int('batch_axis', 1), n.int('time_axis', 0)];
    for (const a of n.shape(0).keys()) {
      r.same(n.axis(0, a), n.outputAxis(0, a));
      if (a === time) r.wall(n.axis(0, a), `ReverseSequence '${n.name}' turns it round`);
      if (a === batch) r.same(n.axis(0, a), n.axis(1, 0));
    }
    return undefined;
  },
  zero: () => 'zero',
});

/** The middle of the input, or the input in the middle of zeros. https://onnx.ai/onnx/operators/onnx__CenterCropPad.html (18) */
const CenterCropPad = operator('CenterCropPad', {
  roles: { 1: shapeVector },
  shape(n) {
    const shape: Dim[] = [...n.shape(0)];
    const target = n.constant(1)?.values ?? unknown();
    croppedAxes(n).forEach((axis, i) => {
      shape[axis] = target[i];
    });
    return [{ elemType: n.type(0).elemType, shape }];
  },
  couple(n, r) {
    const axes = croppedAxes(n);
    for (const a of n.shape(0).keys()) {
      if (!axes.includes(a)) r.same(n.axis(0, a), n.outputAxis(0, a));
      else for (const ref of [n.axis(0, a), n.outputAxis(0, a)]) r.wall(ref, `CenterCropPad '${n.name}' crops it`);
    }
    return undefined;
  },
  zero: () => 'zero',
});

const croppedAxes = (n: NodeView): number[] => {
  const rank = n.shape(0).length;
  return (n.ints('axes') ?? [...n.shape(0).keys()]).map(axis => normalAxis(axis, rank));
};

/** Columns back to images. https://onnx.ai/onnx/operators/onnx__Col2Im.html (18) */
const Col2Im = opaque(
  'Col2Im',
  n => {
    const [batch, columns] = n.shape(0);
    const block = (n.constantInts(2) ?? unknown()).reduce((a, b) => a * b, 1);
    return [
      { elemType: n.type(0).elemType, shape: [batch, known(columns) / block, ...(n.constantInts(1) ?? unknown())] },
    ];
  },
  { why: 'folds it' },
);

/** https://onnx.ai/onnx/operators/onnx__Det.html (11, 22) */
const Det = opaque('Det', n => [{ elemType: n.type(0).elemType, shape: n.shape(0).slice(0, -2) }]);

/** https://onnx.ai/onnx/operators/onnx__ImageDecoder.html (20) */
const ImageDecoder = opaque('ImageDecoder', n => [
  {
    elemType: DataType.UINT8,
    shape: [`${n.outputs[0]}_0`, `${n.outputs[0]}_1`, n.string('pixel_format', 'RGB') === 'Grayscale' ? 1 : 3],
  },
]);

/** The same as its first input, with updates written in at places. https://onnx.ai/onnx/operators/onnx__TensorScatter.html (24) */
const TensorScatter = opaque('TensorScatter', n => [n.type(0)], { why: 'writes into it' });

/** The others, which need no name. */
export const positional: readonly Operator[] = [
  CenterCropPad,
  Col2Im,
  Det,
  EyeLike,
  ImageDecoder,
  OneHot,
  ReverseSequence,
  TensorScatter,
];
