import { unknown } from '../graph/axes.ts';
import { type NodeView, type Operator, operator } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { coupleBroadcast } from './families/broadcast.ts';
import { keepAll } from './families/whole.ts';

/**
 * Operators that draw at random. Every run gives other values, so they are no constants, and what follows from them is
 * compared before them.
 */
const drawn = { random: true, discrete: true } as const;

/** Of a shape that an attribute gives. */
const generator = (type: string): Operator =>
  operator(type, {
    ...drawn,
    shape: n => [{ elemType: n.int('dtype', DataType.FLOAT), shape: n.ints('shape') ?? unknown() }],
    // All elements are alike: any of them can go, but the shape has to be written anew.
    couple: () => undefined,
    cut(n, kept) {
      const shape = n.ints('shape') ?? unknown();
      const lengths = shape.map((dim, axis) => kept(n.outputAxis(0, axis))?.length ?? dim);
      return lengths.every((dim, axis) => dim === shape[axis]) ? null : { attributes: { shape: lengths } };
    },
  });

/** Of the shape of the input. */
const like = (type: string): Operator =>
  operator(type, {
    ...drawn,
    shape: n => [{ elemType: n.int('dtype', n.type(0).elemType), shape: n.type(0).shape }],
    couple(n, r) {
      coupleBroadcast(n, 0, 0, r);
      return undefined;
    },
  });

/** https://onnx.ai/onnx/operators/onnx__RandomNormal.html and its like (1, 22; Bernoulli 15, 22; Multinomial 7, 22) */
export const randoms: readonly Operator[] = [
  generator('RandomNormal'),
  generator('RandomUniform'),
  like('RandomNormalLike'),
  like('RandomUniformLike'),
  like('Bernoulli'),
  operator('Multinomial', {
    ...drawn,
    shape: n => [{ elemType: n.int('dtype', DataType.INT32), shape: [n.shape(0)[0], n.int('sample_size', 1)] }],
    couple: (n: NodeView, r) => keepAll(n, r, 'draws from it'),
  }),
];
