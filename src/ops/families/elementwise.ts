import { broadcastShapes, unknown } from '../../graph/axes.ts';
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
import { DataType } from '../../onnx/index.ts';
import { coupleBroadcast } from './broadcast.ts';

/** Broadcast evaluation of small constants. @returns null when an input is not one, or an element is symbolic where `f` needs numbers */
export function evaluateElementwise(n: NodeView, elemType: number, f: (...values: number[]) => number): Const | null {
  const inputs = n.inputs.map((_, i) => n.constant(i));
  if (inputs.some(c => !c || c.values.some(value => typeof value === 'string'))) return null;
  const shapes = inputs.map(c => c!.dims);
  const dims = broadcastShapes(...shapes) as number[];
  const values = Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, flat) =>
    f(...inputs.map(c => c!.values[broadcastIndex(flat, dims, c!.dims)] as number)),
  );
  return { elemType, dims, values };
}

/** The flat index in an operand of `shape` that is broadcast to the flat index of `dims`. */
function broadcastIndex(flat: number, dims: readonly number[], shape: readonly number[]): number {
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
const sumZero = (n: NodeView): Zero => {
  const whole = (i: number) => !n.isConstant(i) && n.shape(i).join() === n.outputShape(0).join();
  return n.inputs.every((_, i) => whole(i)) ? 'zero' : 'constant';
};

/** An operator of two inputs that libtorch has under one name. */
export const binary = (type: string, aten: string, rest: Omit<Elementwise, 'forward'>): Operator =>
  elementwise(type, { ...rest, forward: direct(aten) });

/** Division of integers rounds towards zero. */
const divide = (n: NodeView) =>
  n.type(0).elemType === DataType.INT64 || n.type(0).elemType === DataType.INT32 ? Math.trunc : (x: number) => x;

/** https://onnx.ai/onnx/operators/onnx__Add.html and its like (7, 13, 14) */
export const binaries: readonly Operator[] = [
  { ...binary('Add', 'add.Tensor', { zero: sumZero, constant: bias, evaluate: (a, b) => a + b }), overwritable: true },
  binary('Sub', 'sub.Tensor', { zero: sumZero, constant: bias, evaluate: (a, b) => a - b }),
  binary('Mul', 'mul.Tensor', { zero: () => 'absorbs', constant: scale, evaluate: (a, b) => a * b }),
  {
    ...binary('Div', 'div.Tensor', { zero: n => (n.isConstant(1) ? 'zero' : 'constant'), constant: scale }),
    evaluate: n => [evaluateElementwise(n, n.type(0).elemType, (a, b) => divide(n)(a / b))],
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

/** https://onnx.ai/onnx/operators/onnx__Max.html, Min, Sum (6, 8, 13) */
export const variadics: readonly Operator[] = [
  variadic('Sum', 'add.Tensor', (...values) => values.reduce((a, b) => a + b, 0)),
  variadic('Max', 'maximum', Math.max),
  variadic('Min', 'minimum', Math.min),
];
