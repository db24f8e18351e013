import { broadcastShapes } from '../graph/axes.ts';
import { type NodeView, operator } from '../graph/operator.ts';
import { coupleBroadcast, isWhole } from './families/broadcast.ts';
import { evaluateBroadcast } from './families/elementwise.ts';

/** A branch that is zero where a channel of its operand is: an operand that is not stretched, or zeros. */
const staysZero = (n: NodeView, input: number): boolean =>
  isWhole(n, input) || (n.isConstant(input) && (n.constant(input)?.values.every(value => value === 0) ?? false));

/** https://onnx.ai/onnx/operators/onnx__Where.html (9, 16) */
export const Where = operator('Where', {
  shape: n => [{ elemType: n.type(1).elemType, shape: broadcastShapes(n.shape(0), n.shape(1), n.shape(2)) }],
  evaluate: n => [evaluateBroadcast(n, n.type(1).elemType, (condition, x, y) => (condition ? x : y))],
  couple(n, r) {
    for (const input of [0, 1, 2]) coupleBroadcast(n, input, 0, r);
    return undefined;
  },
  // A condition that is computed is no way for a channel to come through: the mask goes behind.
  zero: n => (n.isConstant(0) && staysZero(n, 1) && staysZero(n, 2) ? 'zero' : 'constant'),
  forward(_, engine) {
    const [where, isSet] = ['where.self', 'ne.Scalar'].map(name => engine.op(name));
    return ([condition, x, y]) => where(isSet(condition, 0), x, y);
  },
});
