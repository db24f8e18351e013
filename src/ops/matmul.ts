import { broadcastShapes } from '../graph/axes.ts';
import { type Monomial, type NodeView, operator, type Relations, type Role, weight } from '../graph/operator.ts';

/** Which operand is a weight: the one that is a constant of the file. */
function roles(n: NodeView): Record<number, Role> {
  const rank = (input: number) => n.type(input).shape?.length ?? 0;
  if (n.isConstant(1) && rank(1) >= 2) return { 1: weight({ out: rank(1) - 1, in: rank(1) - 2 }) };
  if (n.isConstant(0) && rank(0) >= 2) return { 0: weight({ out: rank(0) - 2, in: rank(0) - 1 }) };
  return {};
}

/** Say of a product of two activations over a batch which axes are heads and which their dims. */
function attend(n: NodeView, r: Relations): void {
  if (n.isConstant(0) || n.isConstant(1)) return;
  const ranks = [0, 1].map(input => n.shape(input).length);
  if (ranks.some(rank => rank < 3)) return;
  for (const [input, rank] of ranks.entries()) {
    for (let axis = 0; axis < rank - 2; axis++) r.attends(n.axis(input, axis), 'heads');
  }
  for (const ref of [n.axis(0, -1), n.axis(1, -2), n.axis(1, -1)]) r.attends(ref, 'dims');
}

/** Matrix product, batched, weight on either side. https://onnx.ai/onnx/operators/onnx__MatMul.html (1, 9, 13) */
export const MatMul = operator('MatMul', {
  roles,
  foldable: [0, 1],
  shape(n) {
    const [a, b] = [n.shape(0), n.shape(1)];
    const rows = a.length > 1 ? [a[a.length - 2]] : [];
    const columns = b.length > 1 ? [b[b.length - 1]] : [];
    const batch = broadcastShapes(a.slice(0, -2), b.slice(0, -2));
    return [{ elemType: n.type(0).elemType, shape: [...batch, ...rows, ...columns] }];
  },
  couple(n, r) {
    attend(n, r);
    const left = n.shape(0).length > 1 ? '... M K' : 'K';
    const right = n.shape(1).length > 1 ? '... K P' : 'K';
    return `${left}, ${right} -> ... ${n.shape(0).length > 1 ? 'M' : ''} ${n.shape(1).length > 1 ? 'P' : ''}`;
  },
  cost(n): Monomial[] {
    const out = n.outputShape(0);
    const k = n.axis(0, -1);
    return [{ coefficient: 1, axes: [k, ...out.map((_, axis) => n.outputAxis(0, axis))] }];
  },
  // A batch entry that is zero in one operand is zero in the product.
  zero: () => 'absorbs',
  forward(_, engine) {
    const matmul = engine.op('matmul');
    return ([a, b]) => matmul(a, b);
  },
});
