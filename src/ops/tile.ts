import { unknown } from '../graph/axes.ts';
import { type Dim, type NodeView, operator, shapeVector } from '../graph/operator.ts';
import { mostElements } from './families/elementwise.ts';

/** How often every axis is repeated. Operator set 1 took a single axis: nothing here knows such files. */
const repeatsOf = (n: NodeView): readonly number[] => (n.version < 6 ? unknown() : (n.constantInts(1) ?? unknown()));

/** https://onnx.ai/onnx/operators/onnx__Tile.html (6, 13) */
export const Tile = operator('Tile', {
  roles: { 1: shapeVector },
  shape(n) {
    const repeats = repeatsOf(n);
    const shape = n.shape(0).map((dim, axis): Dim => {
      if (repeats[axis] === 1) return dim;
      return typeof dim === 'number' ? dim * repeats[axis] : `${n.outputs[0]}_${axis}`;
    });
    return [{ elemType: n.type(0).elemType, shape }];
  },
  evaluate(n) {
    const value = n.constant(0);
    if (!value) return [null];
    const dims = repeatsOf(n).map((count, axis) => count * value.dims[axis]);
    if (dims.reduce((a, b) => a * b, 1) > mostElements) return [null];
    // Row by row: for every axis all copies of its indices.
    const flat = dims.reduce<number[]>(
      (rows, dim, axis) =>
        rows.flatMap(row => Array.from({ length: dim }, (_, i) => row * value.dims[axis] + (i % value.dims[axis]))),
      [0],
    );
    return [{ ...value, dims, values: flat.map(i => value.values[i]) }];
  },
  couple(n, r) {
    const repeats = repeatsOf(n);
    n.shape(0).forEach((dim, axis) => {
      const [before, after] = [n.axis(0, axis), n.outputAxis(0, axis)];
      if (repeats[axis] === 1) r.same(before, after);
      // Copies of a single index are all equal: any of them can go.
      else if (dim === 1) r.wall(before, `Tile '${n.name}' repeats it`);
      else r.map(after, before, i => i % Number(dim));
    });
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const repeat = engine.op('repeat');
    const repeats = repeatsOf(n);
    return ([x]) => repeat(x, repeats);
  },
  cut(n, kept) {
    const shape = n.shape(0);
    const repeats = repeatsOf(n);
    const next = repeats.map((count, axis) =>
      shape[axis] === 1 ? (kept(n.outputAxis(0, axis))?.length ?? count) : count,
    );
    return next.every((count, axis) => count === repeats[axis]) ? null : { constants: { 1: next } };
  },
});
