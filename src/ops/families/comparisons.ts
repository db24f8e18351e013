import { type NodeView, type Operator, operator, type Zero } from '../../graph/operator.ts';
import { DataType } from '../../onnx/index.ts';
import { coupleBroadcast, isWhole } from './broadcast.ts';
import { binary, elementwise, evaluateBroadcast, evaluateElementwise } from './elementwise.ts';

/** What an operand is where channels are zero; null where that is not known, as of what is stretched along them. */
function valuesAtZero(n: NodeView, input: number): readonly number[] | null {
  if (!n.isConstant(input)) return isWhole(n, input) ? [0] : null;
  const values = n.constant(input)?.values;
  return values?.every(value => typeof value === 'number') ? (values as readonly number[]) : null;
}

/** `zero` where a function of two operands gives 0 whenever its operands that are no constants are 0. */
const zeroBy =
  (f: (a: number, b: number) => number) =>
  (n: NodeView): Zero => {
    const [left, right] = [valuesAtZero(n, 0), valuesAtZero(n, 1)];
    return left?.every(a => right?.every(b => f(a, b) === 0) ?? false) ? 'zero' : 'constant';
  };

const truth = (holds: (a: number, b: number) => boolean) => (a: number, b: number) => Number(holds(a, b));

const comparison = (type: string, aten: string, holds: (a: number, b: number) => boolean): Operator =>
  binary(type, aten, { zero: zeroBy(truth(holds)), elemType: DataType.BOOL, evaluate: truth(holds) });

/** Two symbols are equal if they are the same one; no length is negative. */
const equal = (a: number | string, b: number | string): number | null => {
  if (a === b) return 1;
  if (typeof a === 'number' && typeof b === 'number') return 0;
  return [a, b].some(value => typeof value === 'number' && value < 0) ? 0 : null;
};

/** https://onnx.ai/onnx/operators/onnx__Equal.html and its like (7, 9, 11, 12, 13, 16, 19) */
export const comparisons: readonly Operator[] = [
  {
    ...comparison('Equal', 'eq.Tensor', (a, b) => a === b),
    evaluate: n => [evaluateBroadcast(n, DataType.BOOL, equal)],
  },
  comparison('Greater', 'gt.Tensor', (a, b) => a > b),
  comparison('GreaterOrEqual', 'ge.Tensor', (a, b) => a >= b),
  comparison('Less', 'lt.Tensor', (a, b) => a < b),
  comparison('LessOrEqual', 'le.Tensor', (a, b) => a <= b),
  { ...comparison('And', 'logical_and', (a, b) => a !== 0 && b !== 0), zero: () => 'absorbs' },
  comparison('Or', 'logical_or', (a, b) => a !== 0 || b !== 0),
  comparison('Xor', 'logical_xor', (a, b) => (a !== 0) !== (b !== 0)),
  elementwise('Not', {
    zero: () => 'constant',
    elemType: DataType.BOOL,
    evaluate: x => Number(x === 0),
    forward: (_, engine) => {
      const not = engine.op('logical_not');
      return ([x]) => not(x);
    },
  }),
];

/** On integers of up to 32 bits, as JavaScript has them. */
const bitwise = (type: string, aten: string, f: (a: number, b: number) => number): Operator => ({
  ...binary(type, aten, { zero: zeroBy(f) }),
  evaluate: n => [evaluateBroadcast(n, n.type(0).elemType, (a, b) => (isSmall(a) && isSmall(b) ? f(a, b) : null))],
});

const isSmall = (value: number | string): value is number => typeof value === 'number' && Math.abs(value) < 2 ** 31;

/** https://onnx.ai/onnx/operators/onnx__BitwiseAnd.html and its like (11, 18, 28) */
export const bits: readonly Operator[] = [
  { ...bitwise('BitwiseAnd', 'bitwise_and.Tensor', (a, b) => a & b), zero: () => 'absorbs' },
  bitwise('BitwiseOr', 'bitwise_or.Tensor', (a, b) => a | b),
  bitwise('BitwiseXor', 'bitwise_xor.Tensor', (a, b) => a ^ b),
  elementwise('BitwiseNot', {
    zero: () => 'constant',
    forward: (_, engine) => {
      const not = engine.op('bitwise_not');
      return ([x]) => not(x);
    },
  }),
  elementwise('BitShift', {
    zero: zeroBy((a, b) => (b === 0 ? a : a * b)),
    forward: (n, engine) => {
      const left = n.string('direction', 'LEFT') === 'LEFT';
      const shift = engine.op(`bitwise_${left ? 'left' : 'right'}_shift.Tensor`);
      return ([x, by]) => shift(x, by);
    },
  }),
];

/** The remainder of a division that rounds down, or towards zero. */
const remainder = (n: NodeView) => (a: number, b: number) => (n.int('fmod', 0) ? a % b : a - Math.floor(a / b) * b);

/** https://onnx.ai/onnx/operators/onnx__Mod.html (10, 13, 28) */
export const Mod: Operator = {
  ...elementwise('Mod', {
    zero: n => zeroBy(remainder(n))(n),
    forward: (n, engine) => {
      const call = engine.op(n.int('fmod', 0) ? 'fmod.Tensor' : 'remainder.Tensor');
      return ([a, b]) => call(a, b);
    },
  }),
  evaluate: n => [evaluateElementwise(n, n.type(0).elemType, remainder(n))],
};

/** The same bits as another type. https://onnx.ai/onnx/operators/onnx__BitCast.html (26) */
export const BitCast = operator('BitCast', {
  shape: n => [{ elemType: n.int('to', DataType.FLOAT), shape: n.type(0).shape }],
  couple(n, r) {
    coupleBroadcast(n, 0, 0, r);
    return undefined;
  },
  zero: () => 'zero',
});
