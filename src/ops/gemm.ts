import { bias, type NodeView, operator, type Role, weight } from '../graph/operator.ts';
import { coupleBroadcast } from './families/broadcast.ts';

/** The weight is the right operand, unless only the left one is a constant of the file. */
function roles(n: NodeView): Record<number, Role> {
  if (n.isConstant(0) && !n.isConstant(1)) {
    return { 0: n.int('transA', 0) ? weight({ out: 1, in: 0 }) : weight({ out: 0, in: 1 }), 2: bias };
  }
  return { 1: n.int('transB', 0) ? weight({ out: 0, in: 1 }) : weight({ out: 1, in: 0 }), 2: bias };
}

/** alpha A B + beta C. https://onnx.ai/onnx/operators/onnx__Gemm.html (1, 6, 7, 9, 11, 13) */
export const Gemm = operator('Gemm', {
  roles,
  foldable: [0, 1, 2],
  shape(n) {
    const rows = n.shape(0)[n.int('transA', 0) ? 1 : 0];
    return [{ elemType: n.type(0).elemType, shape: [rows, n.shape(1)[n.int('transB', 0) ? 0 : 1]] }];
  },
  couple(n, r) {
    if (n.has(2)) coupleBroadcast(n, 2, 0, r);
    return `${n.int('transA', 0) ? 'K N' : 'N K'}, ${n.int('transB', 0) ? 'O K' : 'K O'} -> N O`;
  },
  cost: n => [{ coefficient: 1, axes: [n.outputAxis(0, 0), n.axis(1, 0), n.axis(1, 1)] }],
  zero: n => (n.has(2) ? 'constant' : 'zero'),
  forward(n, engine) {
    const transpose = engine.op('t');
    const matmul = engine.op('mm');
    const multiply = engine.op('mul.Scalar');
    const addmm = engine.op('addmm');
    const linear = engine.op('linear');
    const [transA, transB] = [n.int('transA', 0), n.int('transB', 0)];
    const [alpha, beta] = [n.float('alpha', 1), n.float('beta', 1)];
    const vectorBias = !n.has(2) || n.shape(2).length === 1;
    if (!transA && transB && alpha === 1 && beta === 1 && vectorBias) return ([a, b, c]) => linear(a, b, c ?? null);
    return ([a, b, c]) => {
      const left = transA ? transpose(a) : a;
      const right = transB ? transpose(b) : b;
      if (c) return addmm(c, left, right, beta, alpha);
      const product = matmul(left, right);
      return alpha === 1 ? product : multiply(product, alpha);
    };
  },
});
