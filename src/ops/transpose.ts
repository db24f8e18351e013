import { type NodeView, operator, WrongNode } from '../graph/operator.ts';

/** Where each axis of the output comes from. @throws UnknownShape, WrongNode */
function permutation(n: NodeView): readonly number[] {
  const axes = n.shape(0).map((_, axis) => n.shape(0).length - 1 - axis);
  const perm = n.ints('perm') ?? axes;
  if (perm.length !== axes.length || !axes.every(axis => perm.includes(axis)))
    throw new WrongNode(`has the perm [${perm.join(', ')}] for ${axes.length} axes`);
  return perm;
}

/** https://onnx.ai/onnx/operators/onnx__Transpose.html (1, 13, 21) */
export const Transpose = operator('Transpose', {
  moves: permutation,
  shape: n => [{ elemType: n.type(0).elemType, shape: permutation(n).map(axis => n.shape(0)[axis]) }],
  evaluate(n) {
    const value = n.constant(0);
    if (!value) return [null];
    const perm = permutation(n);
    const dims = perm.map(axis => value.dims[axis]);
    const strides = value.dims.map((_, axis) => value.dims.slice(axis + 1).reduce((a, b) => a * b, 1));
    const flat = dims.reduce<number[]>(
      (rows, dim, k) => rows.flatMap(row => Array.from({ length: dim }, (_, i) => row + i * strides[perm[k]])),
      [0],
    );
    return [{ ...value, dims, values: flat.map(i => value.values[i]) }];
  },
  couple(n, r) {
    permutation(n).forEach((from, to) => {
      r.same(n.axis(0, from), n.outputAxis(0, to));
    });
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const permute = engine.op('permute');
    const perm = permutation(n);
    return ([x]) => permute(x, perm);
  },
});
