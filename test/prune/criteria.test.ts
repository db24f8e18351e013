import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { floats, GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { valuesOf } from '../../src/prune/criteria/members.ts';
import { type Coupling, coupleGraph } from '../../src/prune/groups.ts';
import {
  comparableScores,
  type ImportanceContext,
  type ImportanceName,
  importance,
  importanceNames,
} from '../../src/prune/importance.ts';
import { maskPoints } from '../../src/prune/mask-points.ts';
import { codeOf } from '../onnx/support.ts';

/** Four filters of two numbers each. */
const filters = [
  [3, -4],
  [0, 1],
  [0, -2],
  [6, 8],
];

/** A 1x1 convolution with those filters, whatever `between` makes of it, and a convolution that sums over them. */
function net(between: (g: GraphBuilder, x: string) => string = (_, x) => x, values = filters): OnnxModel {
  const g = new GraphBuilder({ name: 'net' });
  const x = g.input('X', [1, 2, 4, 4]);
  const a = g.initializer('a', Float32Array.from(values.flat()), [4, 2, 1, 1]);
  const b = g.initializer('b', new Float32Array(12).fill(1), [3, 4, 1, 1]);
  g.output(g.node('Conv', [between(g, g.node('Conv', [x, a])), b]));
  return g.model();
}

const contextOf = (model: OnnxModel, seed = 0): ImportanceContext & { coupling: Coupling } => {
  const coupling = coupleGraph(buildGraph(model, operators));
  return { coupling, seed, values: name => floats(coupling.graph.tensors.get(name)!) };
};

const scores = (name: ImportanceName, model: OnnxModel, seed = 0): number[] => {
  const context = contextOf(model, seed);
  return [...importance[name](context.coupling.groups[0], context)];
};

const norm = (g: GraphBuilder, x: string, gamma: readonly number[], name: string) =>
  g.node('BatchNormalization', [
    x,
    g.initializer(`${name}.scale`, Float32Array.from(gamma), [4]),
    ...['shift', 'mean'].map(part => g.initializer(`${name}.${part}`, new Float32Array(4).fill(9), [4])),
    g.initializer(`${name}.variance`, new Float32Array(4).fill(1), [4]),
  ]);

test('l1 and l2 are norms of the filters', () => {
  expect(scores('l1', net())).toEqual([7, 1, 2, 14]);
  expect(scores('l2', net())).toEqual([5, 1, 2, 10]);
});

test('the mean is taken over all weights of a group, along the axis that makes their channels', () => {
  const g = new GraphBuilder({ name: 'sum' });
  const x = g.input('X', [1, 2]);
  // Rows of one and columns of the other are the channels.
  const a = g.initializer('a', Float32Array.from(filters.flat()), [4, 2]);
  const b = g.initializer('b', Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 4]);
  const sum = g.node('Add', [g.node('Gemm', [x, a], { transB: 1 }), g.node('MatMul', [x, b])]);
  g.output(g.node('MatMul', [sum, g.initializer('c', new Float32Array(4), [4, 1])]));
  expect(scores('l1', g.model())).toEqual([(7 + 6) / 2, (1 + 8) / 2, (2 + 10) / 2, (14 + 12) / 2]);
  expect(scores('l2', g.model())[3]).toBeCloseTo((10 + Math.hypot(4, 8)) / 2, 6);
});

test('a weight behind a Transpose is ranked by the tensor that it comes from', () => {
  const g = new GraphBuilder({ name: 'transposed' });
  const x = g.input('X', [1, 2]);
  const w = g.node('Transpose', [g.initializer('a', Float32Array.from(filters.flat()), [4, 2])], { perm: [1, 0] });
  const y = g.node('MatMul', [x, w]);
  g.output(g.node('MatMul', [y, g.initializer('c', new Float32Array(4).fill(1), [4, 1])]));
  expect(scores('l1', g.model())).toEqual([7, 1, 2, 14]);
});

test('so are codes; what many paths lead to is looked at once', () => {
  const g = new GraphBuilder({ name: 'behind' });
  const codes = g.initializer('a', Int8Array.from(filters.flat()), [4, 2]);
  const moved = g.node('Transpose', [g.node('Identity', [codes])], { perm: [1, 0] });
  const y = g.node('MatMul', [
    g.input('X', [1, 2]),
    g.node('DequantizeLinear', [moved, g.initializer('s', Float32Array.of(0.5), [])]),
  ]);
  let doubled = g.initializer('b', new Float32Array(20).fill(1), [4, 5]);
  for (let i = 0; i < 60; i++) doubled = g.node('Add', [doubled, doubled]);
  g.output(g.node('MatMul', [g.node('MatMul', [y, doubled]), g.initializer('c', new Float32Array(5).fill(1), [5, 1])]));
  const model = g.model();
  const plain = contextOf(model);
  const context = { ...plain, values: (name: string) => valuesOf(plain.coupling.graph, name) };
  expect([...comparableScores('l1', context)[0]].map(score => score * 3)).toEqual([3.5, 0.5, 1, 7]);
  expect(comparableScores('l1', context)[1].every(score => score === 1)).toBe(true);
  expect(maskPoints(context.coupling).length).toBeGreaterThan(0);
});

test('bn-scale is |gamma|, and needs a batch normalisation', () => {
  const twice = net((g, x) => norm(g, norm(g, x, [1, -2, 3, 0], 'first'), [-3, 0, 1, 1], 'second'));
  expect(scores('bn-scale', twice)).toEqual([2, 1, 2, 0.5]);
  expect(codeOf(() => comparableScores('bn-scale', contextOf(net())))).toBe('E_CRITERION');
  expect(() => comparableScores('bn-scale', contextOf(net()))).toThrow(/'a' .*has no BatchNormalization/);
  // A slope per channel is a scale, but not of a normalisation.
  const slopes = net((g, x) => g.node('PRelu', [x, g.initializer('s', new Float32Array(4), [4, 1, 1])]));
  expect(codeOf(() => comparableScores('bn-scale', contextOf(slopes)))).toBe('E_CRITERION');
  expect(comparableScores('bn-scale', contextOf(slopes), () => false)).toEqual([new Float64Array(4)]);
});

test('fpgm is the sum of the distances to the other filters', () => {
  const distance = (p: number[], q: number[]) => Math.hypot(p[0] - q[0], p[1] - q[1]);
  const expected = filters.map(p => filters.reduce((sum, q) => sum + distance(p, q), 0));
  const found = scores('fpgm', net());
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i], 10);
  // Along another axis than the first.
  const g = new GraphBuilder({ name: 'columns' });
  const x = g.input('X', [1, 2]);
  const columns = [0, 1].flatMap(row => filters.map(filter => filter[row]));
  const y = g.node('MatMul', [x, g.initializer('a', Float32Array.from(columns), [2, 4])]);
  g.output(g.node('MatMul', [y, g.initializer('c', new Float32Array(4).fill(1), [4, 1])]));
  expect(scores('fpgm', g.model())).toEqual(found);
});

test('lamp divides a squared norm by all that are at least as large', () => {
  // Squares 25, 1, 4, 100.
  expect(scores('lamp', net())).toEqual([25 / 125, 1 / 130, 4 / 129, 1]);
  expect(
    scores(
      'lamp',
      net(undefined, [
        [0, 0],
        [0, 0],
        [0, 0],
        [0, 2],
      ]),
    ),
  ).toEqual([0, 0, 0, 1]);
});

test('random numbers belong to the seed and the group', () => {
  expect(scores('random', net(), 1)).toEqual(scores('random', net(), 1));
  expect(scores('random', net(), 1)).not.toEqual(scores('random', net(), 2));
});

test('scores of two groups are made comparable: a mean of 1, whatever the scale of the weights', () => {
  const model = net((g, x) => norm(g, x, [1, 1, 2, 4], 'norm'));
  const larger = net(
    (g, x) => norm(g, x, [3, 3, 6, 12], 'norm'),
    filters.map(row => row.map(v => v * 3)),
  );
  for (const name of importanceNames) {
    const [one, other] = [model, larger].map(m => [...comparableScores(name, contextOf(m))[0]]);
    for (const [i, score] of one.entries()) expect([name, score]).toEqual([name, expect.closeTo(other[i], 6)]);
    if (name !== 'lamp') expect(one.reduce((a, b) => a + b) / 4).toBeCloseTo(1, 10);
  }
});

test('weights that are not finite are refused, for a ranking would be by chance', () => {
  const broken = net(undefined, filters.with(1, [Number.NaN, 1]));
  for (const name of ['l1', 'l2', 'fpgm', 'lamp'] as const)
    expect(() => comparableScores(name, contextOf(broken))).toThrow(/'a' .*not finite/);
  expect(codeOf(() => comparableScores('random', contextOf(broken)))).toBe('no error');
});

test('channels of a weight that one number fills are all alike; one that is worked out of others cannot be ranked', () => {
  const filled = (between: (g: GraphBuilder, w: string) => string) => {
    const g = new GraphBuilder({ name: 'filled' });
    const shape = g.initializer('shape', BigInt64Array.of(4n, 2n, 1n, 1n), [4]);
    const w = between(g, g.node('ConstantOfShape', [shape]));
    const b = g.initializer('b', new Float32Array(12).fill(1), [3, 4, 1, 1]);
    g.output(g.node('Conv', [g.node('Conv', [g.input('X', [1, 2, 4, 4]), w]), b]));
    return contextOf(g.model());
  };
  for (const name of ['l1', 'l2', 'fpgm', 'lamp'] as const)
    expect([
      ...comparableScores(
        name,
        filled((_, w) => w),
      )[0],
    ]).toEqual([1, 1, 1, 1]);
  const mixed = filled((g, w) => g.node('Add', [w, g.initializer('v', Float32Array.of(1, 2), [2, 1, 1])]));
  expect(codeOf(() => comparableScores('l1', mixed))).toBe('E_CRITERION');
});
