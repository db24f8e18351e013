import { product, unknown } from '../graph/axes.ts';
import { constOf, intVector } from '../graph/constants.ts';
import { lengthAt } from '../graph/dims.ts';
import { type Const, type NodeView, operator, shapeVector } from '../graph/operator.ts';
import { DataType, isInteger, type OnnxTensor, tensorOf } from '../onnx/index.ts';

/** The forms of a Constant other than a tensor, which is among the graph's tensors already. */
const literals: Readonly<Record<string, number>> = {
  value_int: DataType.INT64,
  value_ints: DataType.INT64,
  value_float: DataType.FLOAT,
  value_floats: DataType.FLOAT,
};

const literalOf = (n: NodeView): string | undefined =>
  Object.keys(literals).find(name => n.attribute(name) !== undefined);

function contentOf(n: NodeView): Const | null {
  const name = literalOf(n);
  if (!name) return null;
  const value = n.attribute(name) as number | readonly number[];
  const values = typeof value === 'number' ? [value] : value;
  return { elemType: literals[name], dims: typeof value === 'number' ? [] : [values.length], values };
}

/** https://onnx.ai/onnx/operators/onnx__Constant.html (1, 9, 11, 12, 13, 19, 21) */
export const Constant = operator('Constant', {
  shape(n) {
    const value = contentOf(n) ?? unknown();
    return [{ elemType: value.elemType, shape: value.dims }];
  },
  evaluate: n => [contentOf(n)],
  cut(n, kept) {
    const name = literalOf(n);
    const left = name && n.ints(name) && kept(n.outputAxis(0, 0));
    return left ? { attributes: { [name]: left.map(index => n.ints(name)![index]) } } : null;
  },
});

/** The element that a ConstantOfShape repeats. */
function filling(n: NodeView): OnnxTensor {
  const value = n.attribute('value');
  return value && typeof value === 'object' && 'dims' in value ? value : tensorOf('', new Float32Array(1), [1]);
}

/** https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html (9, 20, 21) */
export const ConstantOfShape = operator('ConstantOfShape', {
  roles: { 0: shapeVector },
  shape: n => [{ elemType: filling(n).dataType, shape: n.constant(0)?.values ?? unknown() }],
  evaluate(n) {
    const dims = n.constantInts(0);
    const { elemType, values } = constOf(filling(n));
    // Real numbers are no lengths: those of a shape that follows a cut are not known before.
    if (!dims || product(dims) > 4096 || !(isInteger(elemType) || n.isConstant(0))) return [null];
    return [{ elemType, dims, values: Array<number | string>(product(dims)).fill(values[0]) }];
  },
  // Its elements are all equal: any of them can go, but its shape has to be written anew.
  couple(n, r) {
    for (const [axis, dim] of n.outputShape(0).entries()) {
      // What is left of a product of symbols and numbers is not a number, and not what the graph computes.
      if (typeof dim === 'string') r.wall(n.outputAxis(0, axis), `ConstantOfShape '${n.name}' computes its length`);
    }
    return undefined;
  },
  zero: () => 'constant',
  forward(n, engine) {
    const shape = n.outputShape(0);
    const value = Number(constOf(filling(n)).values[0]);
    const expand = engine.op('expand');
    const element = engine.tensor(Float32Array.of(value), []);
    return (_, { lengths }) =>
      expand(
        element,
        shape.map(dim => lengthAt(dim, lengths)),
      );
  },
  cut(n, kept) {
    const shape = n.outputShape(0);
    const lengths = shape.map((_, axis) => kept(n.outputAxis(0, axis))?.length ?? null);
    if (lengths.every(length => length === null)) return null;
    const values = shape.map((dim, axis) => lengths[axis] ?? (typeof dim === 'number' ? dim : null));
    return values.includes(null) ? { lengths: { input: 0, values } } : { constants: { 0: values as number[] } };
  },
});

/** The shape of a value as numbers and symbols. https://onnx.ai/onnx/operators/onnx__Shape.html (1, 13, 15, 19, 21) */
export const Shape = operator('Shape', {
  shape: n => [{ elemType: DataType.INT64, shape: [lengths(n).length] }],
  evaluate: n => [intVector(lengths(n))],
  // A length is read, not a channel: what names it is written anew by the node that uses it.
  couple: () => undefined,
});

function lengths(n: NodeView): readonly (number | string)[] {
  const shape = n.shape(0);
  return shape.slice(n.int('start', 0), n.attribute('end') === undefined ? undefined : n.int('end', shape.length));
}
