import { normalAxis } from '../graph/axes.ts';
import { type NodeView, type Operator, operator, quantisation, type Relations, type Role } from '../graph/operator.ts';
import { byteSize, DataType } from '../onnx/index.ts';
import { keepAll, opaque } from './families/whole.ts';

/** The axis that scales differ along, if they do; a value of fewer axes has one scale for all. */
function axisOf(n: NodeView): number {
  const rank = n.shape(0).length;
  const axis = n.int('axis', 1);
  return axis < rank ? normalAxis(axis, rank) : 0;
}

/** Scale and zero point: one for all, one per index of an axis, or one per block of it. */
function coupleScales(n: NodeView, r: Relations): void {
  const axis = axisOf(n);
  const blocks = n.int('block_size', 0) > 0;
  for (const input of [1, 2]) {
    if (!n.has(input)) continue;
    const shape = n.shape(input);
    if (!blocks && shape.length === 1 && shape[0] !== 1 && n.shape(0)[axis] === shape[0])
      r.same(n.axis(input, 0), n.axis(0, axis));
    if (!blocks) continue;
    for (const a of shape.keys()) {
      if (a !== axis) r.same(n.axis(input, a), n.axis(0, a));
      else
        for (const ref of [n.axis(input, a), n.axis(0, a)]) r.wall(ref, `${n.opType} '${n.name}' scales it in blocks`);
    }
  }
}

/** Elements of half a byte and less are not taken apart. */
const isPacked = (elemType: number): boolean => elemType !== 0 && byteSize(elemType) === null;

const between = (type: string, elemType: (n: NodeView) => number, packed: (n: NodeView) => number): Operator =>
  operator(type, {
    roles(n): Record<number, Role> {
      const settings = { 1: quantisation, 2: quantisation };
      if (type === 'QuantizeLinear' || !n.type(0).shape) return settings;
      return { ...settings, 0: { kind: 'codes', codes: { scale: 1, zeroPoint: 2, axis: axisOf(n) } } };
    },
    shape: n => [{ elemType: elemType(n), shape: n.type(0).shape }],
    couple(n, r) {
      if (isPacked(packed(n))) return keepAll(n, r, 'packs several codes into a byte');
      for (const a of n.shape(0).keys()) r.same(n.axis(0, a), n.outputAxis(0, a));
      coupleScales(n, r);
      return undefined;
    },
    // Zero is a code, which is another number unless the zero point is 0.
    zero: n => (!n.has(2) || n.constantInts(2)?.every(code => code === 0) ? 'zero' : 'constant'),
  });

const codeType = (n: NodeView): number => (n.has(2) ? n.type(2).elemType : n.int('output_dtype', 0) || DataType.UINT8);

/** https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html (10, 13, 19, 21, 23, 24) */
export const QuantizeLinear = between('QuantizeLinear', codeType, codeType);

/** https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html (10, 13, 19, 21, 23, 24) */
export const DequantizeLinear = between(
  'DequantizeLinear',
  n => n.int('output_dtype', 0) || n.type(1).elemType,
  n => n.type(0).elemType,
);

/** Codes, scale and zero point of what is measured at run time. https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html (11) */
export const DynamicQuantizeLinear = opaque(
  'DynamicQuantizeLinear',
  n => [
    { elemType: DataType.UINT8, shape: n.type(0).shape },
    { elemType: DataType.FLOAT, shape: [] },
    { elemType: DataType.UINT8, shape: [] },
  ],
  { why: 'takes the range of all of it' },
);
