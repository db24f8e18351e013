import { normalAxis, unknown } from '../graph/axes.ts';
import { type Follow, type Kept, type NodeView, operator, shapeVector } from '../graph/operator.ts';

const axisOf = (n: NodeView): number => normalAxis(n.int('axis', 0), n.shape(0).length);

/** Constant indices, counted from the start. */
function indicesOf(n: NodeView): number[] | null {
  const length = n.shape(0)[axisOf(n)];
  const indices = n.constantInts(1);
  if (!indices) return null;
  if (indices.some(index => index < 0) && typeof length === 'string') return null;
  return indices.map(index => (index < 0 ? index + (length as number) : index));
}

function cutIndices(n: NodeView, kept: Kept): Follow | null {
  const axis = axisOf(n);
  const inputs = kept(n.axis(0, axis));
  const rank = n.shape(1).length;
  const outputs = rank === 1 ? kept(n.outputAxis(0, axis)) : null;
  if (!inputs && !outputs) return null;
  const indices = indicesOf(n) ?? unknown();
  const position = new Map((inputs ?? indices).map((index, at) => [index, inputs ? at : index]));
  return { constants: { 1: (outputs ?? indices.map((_, i) => i)).map(i => position.get(indices[i])!) } };
}

/** https://onnx.ai/onnx/operators/onnx__Gather.html (1, 11, 13) */
export const Gather = operator('Gather', {
  roles: { 1: shapeVector },
  shape(n) {
    const shape = n.shape(0);
    const axis = axisOf(n);
    return [
      { elemType: n.type(0).elemType, shape: [...shape.slice(0, axis), ...n.shape(1), ...shape.slice(axis + 1)] },
    ];
  },
  evaluate(n) {
    const value = n.constant(0);
    const indices = indicesOf(n);
    if (value?.dims.length !== 1 || !indices) return [null];
    return [{ ...value, dims: n.constant(1)!.dims, values: indices.map(index => value.values[index]) }];
  },
  couple(n, r) {
    const axis = axisOf(n);
    const extra = n.shape(1).length;
    const indices = indicesOf(n);
    for (const a of n.shape(0).keys()) {
      if (a < axis) r.same(n.axis(0, a), n.outputAxis(0, a));
      else if (a > axis) r.same(n.axis(0, a), n.outputAxis(0, a + extra - 1));
      else if (indices && extra === 1) r.map(n.outputAxis(0, a), n.axis(0, a), i => indices[i]);
      else r.wall(n.axis(0, a), `Gather '${n.name}' picks ${extra === 0 ? 'one index of' : 'from'} it`);
    }
    if (extra > 1 || !indices) {
      for (let a = axis; a < axis + extra; a++)
        r.wall(n.outputAxis(0, a), `Gather '${n.name}' makes it of its indices`);
    }
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const axis = axisOf(n);
    const indices = indicesOf(n);
    const shape = n.shape(1) as number[];
    const indexSelect = engine.op('index_select');
    const select = engine.op('select.int');
    const reshape = engine.op('reshape');
    if (indices && shape.length === 0) return ([x]) => select(x, axis, indices[0]);
    const flat = indices && engine.tensor(BigInt64Array.from(indices, BigInt), [indices.length]);
    return ([x, i]) => {
      const picked = indexSelect(x, axis, flat ?? reshape(i, [-1]));
      if (shape.length === 1) return picked;
      return reshape(picked, [...x!.shape.slice(0, axis), ...(flat ? shape : i!.shape), ...x!.shape.slice(axis + 1)]);
    };
  },
  cut: cutIndices,
});
