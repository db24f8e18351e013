import { broadcastShapes, unknown } from '../../graph/axes.ts';
import { productOf, quotientOf } from '../../graph/dims.ts';
import type { Engine } from '../../graph/engine.ts';
import {
  bias,
  type Const,
  type NodeView,
  type Operator,
  operator,
  type Role,
  scale,
  type Zero,
} from '../../graph/operator.ts';
import { DataType, isInteger } from '../../onnx/index.ts';
import { coupleBroadcast, isWhole } from './broadcast.ts';

type Element = number | string;

/** A number as its type holds it: where a length is rounded down, the last bit of a float counts. */
export const rounded = (value: number, elemType: number): number =>
  elemType === DataType.FLOAT ? Math.fround(value) : value;

/** No constant of more elements is computed with. */
export const mostElements = 65_536;

/**
 * Broadcast evaluation of small constants, whose elements may be symbolic lengths.
 * @returns null when an input is not one, or `f` gives null for some element
 */
export function evaluateBroadcast(
  n: NodeView,
  elemType: number,
  f: (...values: Element[]) => Element | null,
): Const | null {
  const inputs = n.inputs.map((_, i) => n.constant(i));
  if (inputs.some(c => !c)) return null;
  const dims = broadcastShapes(...inputs.map(c => c!.dims)) as number[];
  const length = dims.reduce((a, b) => a * b, 1);
  if (length > mostElements) return null;
  const values = Array.from({ length }, (_, flat) => {
    const value = f(...inputs.map(c => c!.values[broadcastIndex(flat, dims, c!.dims)]));
    return typeof value === 'number' ? rounded(value, elemType) : value;
  });
  return values.includes(null) ? null : { elemType, dims, values: values as Element[] };
}

/** Broadcast evaluation of small constants. @returns null when an input is not one, or an element is symbolic where `f` needs numbers */
export const evaluateElementwise = (n: NodeView, elemType: number, f: (...values: number[]) => number): Const | null =>
  evaluateBroadcast(n, elemType, (...values) =>
    values.some(value => typeof value === 'string') ? null : f(...(values as number[])),
  );

/** The flat index in an operand of `shape` that is broadcast to the flat index of `dims`. */
export function broadcastIndex(flat: number, dims: readonly number[], shape: readonly number[]): number {
  let index = 0;
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const own = axis - dims.length + shape.length;
    if (own >= 0) {
      if (shape[own] > 1) index += (flat % dims[axis]) * stride;
      stride *= shape[own];
    }
    flat = Math.floor(flat / dims[axis]);
  }
  return index;
}

interface Elementwise {
  readonly zero: (n: NodeView) => Zero;
  readonly forward: Operator['forward'];
  readonly evaluate?: (...values: number[]) => number;
  readonly elemType?: number;
  /** What a constant operand of several elements is. */
  readonly constant?: Role;
}

/** Constants among the operands; a single number is a setting of the graph, not a parameter. */
const constantRoles = (role: Role | undefined) => (n: NodeView) =>
  Object.fromEntries(
    n.inputs.flatMap((_, i) =>
      role && n.isConstant(i) && (n.type(i).shape ?? []).some(dim => dim !== 1) ? [[i, role] as const] : [],
    ),
  );

/** Before operator set 7, `axis` said where the second operand's axes start: nothing here knows such files. */
function modern(n: NodeView): NodeView {
  if (n.version < 7 && n.attribute('axis') !== undefined) unknown();
  return n;
}

/** An operator on each element of its broadcast inputs. */
export function elementwise(type: string, { zero, forward, evaluate, elemType, constant }: Elementwise): Operator {
  return operator(type, {
    roles: constantRoles(constant),
    shape(n) {
      const shape = broadcastShapes(...modern(n).inputs.map((_, i) => n.shape(i)));
      return [{ elemType: elemType ?? n.type(0).elemType, shape }];
    },
    evaluate: evaluate && (n => [evaluateElementwise(n, elemType ?? n.type(0).elemType, evaluate)]),
    couple(n, r) {
      for (const i of modern(n).inputs.keys()) coupleBroadcast(n, i, 0, r);
      return undefined;
    },
    zero,
    forward: forward && ((n, engine) => forward(modern(n), engine)),
  });
}

const direct =
  (aten: string): NonNullable<Operator['forward']> =>
  (_, engine: Engine) => {
    const call = engine.op(aten);
    return inputs => call(...inputs);
  };

/** An operator of one input that libtorch has under one name. */
export const unary = (type: string, aten: string, zero: Zero, evaluate?: (x: number) => number): Operator =>
  elementwise(type, { zero: () => zero, forward: direct(aten), evaluate });

/** A sum or difference: zero stays zero only when every operand is zero, which a constant or a broadcast one need not be. */
const sumZero = (n: NodeView): Zero => (n.inputs.every((_, i) => isWhole(n, i)) ? 'zero' : 'constant');

/** An operator of two inputs that libtorch has under one name. */
export const binary = (type: string, aten: string, rest: Omit<Elementwise, 'forward'>): Operator =>
  elementwise(type, { ...rest, forward: direct(aten) });

/** Division of integers rounds towards zero. */
const divide = (n: NodeView) => (isInteger(n.type(0).elemType) ? Math.trunc : (x: number) => x);

/** Arithmetic on elements that may be symbolic lengths; null where it does not come out as one. */
const lengthSum = (a: Element, b: Element): Element | null => {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  return a === 0 ? b : b === 0 ? a : null;
};

const lengthDifference = (a: Element, b: Element): Element | null => {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return a === b ? 0 : b === 0 ? a : null;
};

const isLength = (value: Element): boolean => typeof value === 'string' || (Number.isInteger(value) && value > 0);

const lengthProduct = (a: Element, b: Element): Element | null => {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  return isLength(a) && isLength(b) ? productOf([a, b]) : null;
};

const lengthQuotient =
  (whole: (x: number) => number) =>
  (a: Element, b: Element): Element | null => {
    if (typeof a === 'number' && typeof b === 'number') return whole(a / b);
    return isLength(a) && isLength(b) ? quotientOf(a, b) : null;
  };

/** https://onnx.ai/onnx/operators/onnx__Add.html and its like (7, 13, 14) */
export const binaries: readonly Operator[] = [
  {
    ...binary('Add', 'add.Tensor', { zero: sumZero, constant: bias }),
    evaluate: n => [evaluateBroadcast(n, n.type(0).elemType, lengthSum)],
    overwritable: true,
    additive: true,
  },
  {
    ...binary('Sub', 'sub.Tensor', { zero: sumZero, constant: bias }),
    evaluate: n => [evaluateBroadcast(n, n.type(0).elemType, lengthDifference)],
    additive: true,
  },
  {
    ...binary('Mul', 'mul.Tensor', { zero: () => 'absorbs', constant: scale }),
    evaluate: n => [evaluateBroadcast(n, n.type(0).elemType, lengthProduct)],
  },
  {
    ...binary('Div', 'div.Tensor', { zero: n => (n.isConstant(1) ? 'zero' : 'constant'), constant: scale }),
    evaluate: n => [evaluateBroadcast(n, n.type(0).elemType, lengthQuotient(divide(n)))],
    forward(n, engine) {
      const isWhole = isInteger(modern(n).type(0).elemType);
      const call = engine.op(isWhole ? 'div.Tensor_mode' : 'div.Tensor');
      return isWhole ? ([a, b]) => call(a, b, 'trunc') : ([a, b]) => call(a, b);
    },
  },
  binary('Pow', 'pow.Tensor_Tensor', {
    zero: n => (n.constant(1)?.values.every(e => Number(e) > 0) ? 'zero' : 'constant'),
    evaluate: (a, b) => a ** b,
  }),
];

/** Operators of any number of inputs, folded from the left. */
const variadic = (type: string, aten: string, evaluate: (...values: number[]) => number): Operator =>
  elementwise(type, {
    zero: sumZero,
    evaluate,
    forward: (_, engine) => {
      const call = engine.op(aten);
      return inputs => inputs.slice(1).reduce((left, right) => call(left, right), inputs[0]!)!;
    },
  });

/** The sum of all, by their number. */
const mean: Operator = elementwise('Mean', {
  zero: sumZero,
  evaluate: (...values) => values.reduce((a, b) => a + b, 0) / values.length,
  forward: (n, engine) => {
    const [add, multiply] = ['add.Tensor', 'mul.Scalar'].map(name => engine.op(name));
    return inputs =>
      multiply(inputs.slice(1).reduce((left, right) => add(left, right), inputs[0]!)!, 1 / n.inputs.length);
  },
});

/** https://onnx.ai/onnx/operators/onnx__Max.html, Mean, Min, Sum (6, 8, 13) */
export const variadics: readonly Operator[] = [
  mean,
  variadic('Sum', 'add.Tensor', (...values) => values.reduce((a, b) => a + b, 0)),
  variadic('Max', 'maximum', Math.max),
  variadic('Min', 'minimum', Math.min),
];
