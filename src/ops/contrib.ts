import { broadcastShapes, normalAxis, unknown } from '../graph/axes.ts';
import {
  bias,
  type Dim,
  type NodeView,
  type Operator,
  operator,
  quantisation,
  type Relations,
  type Role,
} from '../graph/operator.ts';
import { Conv, convolved } from './conv.ts';
import { coupleBroadcast } from './families/broadcast.ts';
import { opaque, undeclared } from './families/whole.ts';
import { QGemm } from './integer.ts';

/**
 * Operators of ONNX Runtime that optimised and quantised files hold.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md (com.microsoft 1)
 */
const domain = 'com.microsoft';

/** Activations of FusedConv that keep zeros. */
const keepsZero: ReadonlySet<string> = new Set(['', 'Relu', 'LeakyRelu', 'Tanh']);

/** A convolution, with something added and an activation behind it. */
const FusedConv: Operator = {
  ...Conv,
  type: 'FusedConv',
  domain,
  foldable: [],
  overwritable: false,
  forward: undefined,
  forwardInPlace: undefined,
  shape: n => [{ elemType: n.type(0).elemType, shape: convolved(n) }],
  couple(n, r) {
    if (n.has(3)) coupleBroadcast(n, 3, 0, r);
    return Conv.couple!(n, r);
  },
  zero: n => (n.has(2) || n.isConstant(3) || !keepsZero.has(n.string('activation', '')) ? 'constant' : 'zero'),
};

/** The two last axes of an operand of a matrix product, and the ones in front. */
function matrix(n: NodeView, input: 0 | 1): { batch: readonly Dim[]; rows: number; columns: number } {
  const shape = n.shape(input);
  const side = input === 0 ? 'A' : 'B';
  if (shape.length < 2 || n.int(`transBatch${side}`, 0)) unknown();
  const [rows, columns] = [shape.length - 2, shape.length - 1];
  return n.int(`trans${side}`, 0)
    ? { batch: shape.slice(0, -2), rows: columns, columns: rows }
    : { batch: shape.slice(0, -2), rows, columns };
}

const fusedMatMul = (type: string): Operator =>
  operator(type, {
    domain,
    roles(n): Record<number, Role> {
      const side = n.isConstant(1) ? 1 : n.isConstant(0) ? 0 : null;
      if (side === null) return {};
      const { rows, columns } = matrix(n, side);
      return {
        [side]: side === 1 ? { kind: 'weight', out: columns, in: rows } : { kind: 'weight', out: rows, in: columns },
      };
    },
    shape(n) {
      const [a, b] = [matrix(n, 0), matrix(n, 1)];
      const shape = [...broadcastShapes(a.batch, b.batch), n.shape(0)[a.rows], n.shape(1)[b.columns]];
      return [{ elemType: n.type(0).elemType, shape }];
    },
    couple(n) {
      matrix(n, 0);
      matrix(n, 1);
      const left = n.int('transA', 0) ? '... K M' : '... M K';
      const right = n.int('transB', 0) ? '... P K' : '... K P';
      return `${left}, ${right} -> ... M P`;
    },
    cost: n => [
      {
        coefficient: 1,
        axes: [n.axis(0, matrix(n, 0).columns), ...n.outputShape(0).map((_, axis) => n.outputAxis(0, axis))],
      },
    ],
    zero: () => 'zero',
  });

/** An activation of the sum of the input and a bias, if there is one. */
const biased = (type: string): Operator =>
  operator(type, {
    domain,
    roles: { 1: bias },
    shape: n => [n.type(0)],
    couple(n, r) {
      for (const input of n.inputs.keys()) if (n.has(input)) coupleBroadcast(n, input, 0, r);
      return undefined;
    },
    zero: n => (n.has(1) ? 'constant' : 'zero'),
  });

/** Codes in, codes out: every operand has a scale and a zero point of its own, for all of it. */
const settings = (inputs: readonly number[]): Record<number, Role> =>
  Object.fromEntries(inputs.map(input => [input, quantisation]));

const codedBinary = (type: string): Operator =>
  operator(type, {
    domain,
    roles: settings([1, 2, 4, 5, 6, 7]),
    shape: n => [{ elemType: n.type(0).elemType, shape: broadcastShapes(n.shape(0), n.shape(3)) }],
    couple(n, r) {
      coupleBroadcast(n, 0, 0, r);
      coupleBroadcast(n, 3, 0, r);
      return undefined;
    },
  });

const codedUnary = (type: string): Operator =>
  operator(type, {
    domain,
    roles: settings([1, 2, 3, 4]),
    shape: n => [n.type(0)],
    couple(n, r) {
      coupleBroadcast(n, 0, 0, r);
      return undefined;
    },
  });

/** Channels of a pool stand on axis 1, or last. */
function couplePool(n: NodeView, r: Relations): undefined {
  const rank = n.shape(0).length;
  const channels = n.int('channels_last', 0) ? rank - 1 : 1;
  for (let axis = 0; axis < rank; axis++) {
    const refs = [n.axis(0, axis), n.outputAxis(0, axis)] as const;
    if (axis === 0 || axis === channels) r.same(...refs);
    else for (const ref of refs) r.wall(ref, `${n.opType} '${n.name}' slides over it`);
  }
}

const codedGlobalPool = operator('QLinearGlobalAveragePool', {
  domain,
  roles: settings([1, 2, 3, 4]),
  shape(n) {
    const rank = n.shape(0).length;
    const channels = n.int('channels_last', 0) ? rank - 1 : 1;
    const shape = n.shape(0).map((dim, axis) => (axis === 0 || axis === channels ? dim : 1));
    return [{ elemType: n.type(0).elemType, shape }];
  },
  couple: couplePool,
});

const codedPool = operator('QLinearAveragePool', {
  domain,
  roles: settings([1, 2, 3, 4]),
  shape: n => [{ elemType: n.type(0).elemType, shape: null }],
  couple: couplePool,
});

/** Scale and zero point of the result first, then three inputs for each part. */
const codedConcat = operator('QLinearConcat', {
  domain,
  roles: n => settings([...n.inputs.keys()].filter(input => input % 3 !== 2)),
  shape(n) {
    const parts = partsOf(n).map(input => n.shape(input));
    const axis = normalAxis(n.int('axis', 0), parts[0].length);
    const lengths = parts.map(shape => shape[axis]);
    const total = lengths.every(dim => typeof dim === 'number')
      ? lengths.reduce<number>((sum, dim) => sum + (dim as number), 0)
      : unknown();
    return [{ elemType: n.type(1).elemType, shape: parts[0].with(axis, total) }];
  },
  couple(n, r) {
    const axis = normalAxis(n.int('axis', 0), n.outputShape(0).length);
    let offset = 0;
    for (const input of partsOf(n)) {
      const start = offset;
      for (const [a, dim] of n.shape(input).entries()) {
        if (a !== axis) r.same(n.axis(input, a), n.outputAxis(0, a));
        else {
          r.map(n.axis(input, a), n.outputAxis(0, a), index => start + index);
          offset += Number(dim);
        }
      }
    }
    return undefined;
  },
});

const partsOf = (n: NodeView): number[] => [...n.inputs.keys()].filter(input => input % 3 === 2);

/** Operators that multiply nothing and of which nothing else is known; their shapes are what the file declares. */
const others: readonly Operator[] = [
  ...['BifurcationDetector', 'CropAndResize', 'DynamicTimeWarping', 'EmbedLayerNormalization', 'ExpandDims'],
  ...['GatherBlockQuantized', 'GridSample', 'GroupNorm', 'Irfft', 'MaxpoolWithMask', 'MulInteger', 'NGramRepeatBlock'],
  ...['NhwcMaxPool', 'QEmbedLayerNormalization', 'QLinearReduceMean', 'QLinearWhere', 'ReduceSumInteger'],
  ...['RemovePadding', 'RestorePadding', 'Rfft', 'SkipGroupNorm', 'Tokenizer', 'UnfoldTensor', 'Unique'],
].map(type => opaque(type, undeclared, { domain }));

const sameShape = (n: NodeView) => [n.type(0), ...undeclared(n).slice(1)];

/** What of it is known. */
export const contributed: readonly Operator[] = [
  FusedConv,
  QGemm,
  fusedMatMul('FusedMatMul'),
  ...['BiasGelu', 'FastGelu'].map(biased),
  ...['QLinearAdd', 'QLinearMul'].map(codedBinary),
  ...['QLinearLeakyRelu', 'QLinearSigmoid'].map(codedUnary),
  codedGlobalPool,
  codedPool,
  codedConcat,
  opaque('QLinearSoftmax', n => [n.type(0)], { domain, why: 'normalises over it' }),
  opaque('RotaryEmbedding', sameShape, { domain }),
  ...others,
];
