import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { floats, GraphBuilder } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { comparableScores, importance } from '../../src/prune/importance.ts';
import { codeOf } from '../onnx/support.ts';

/** Three channels that `readers` sum over: weights [outputs, 3, 1, 1] by their columns. */
function net(readers: readonly (readonly number[])[][]) {
  const g = new GraphBuilder({ name: 'net' });
  const x = g.input('X', [1, 2, 4, 4]);
  const hidden = g.node('Relu', [g.node('Conv', [x, g.initializer('a', new Float32Array(6).fill(1), [3, 2, 1, 1])])]);
  readers.forEach((rows, i) => {
    g.output(g.node('Conv', [hidden, g.initializer(`b${i}`, Float32Array.from(rows.flat()), [rows.length, 3, 1, 1])]));
  });
  const coupling = coupleGraph(buildGraph(g.model(), operators));
  return { coupling, seed: 0, values: (name: string) => floats(coupling.graph.tensors.get(name)!) };
}

test('outgoing: the mean over the readers of the L1 norm of a column', () => {
  const one = [
    [1, -2, 0],
    [3, 4, 0.5],
  ];
  const two = [[-5, 0, 1]];
  const context = net([one, two]);
  const [group] = context.coupling.groups;
  expect([...importance.outgoing(group, context)]).toEqual([(4 + 5) / 2, 6 / 2, (0.5 + 1) / 2]);
  const mean = (4.5 + 3 + 0.75) / 3;
  expect([...comparableScores('outgoing', context)[0]].map(score => score.toFixed(6))).toEqual(
    [4.5, 3, 0.75].map(score => (score / mean).toFixed(6)),
  );
});

test('a group that nothing sums over cannot be ranked by it', () => {
  const g = new GraphBuilder({ name: 'mean' });
  const x = g.input('X', [1, 2, 4, 4]);
  const a = g.node('Conv', [x, g.initializer('a', new Float32Array(6).fill(1), [3, 2, 1, 1])]);
  g.output(g.node('ReduceSum', [a, g.initializer('axes', BigInt64Array.of(1n), [1])]));
  const coupling = coupleGraph(buildGraph(g.model(), operators));
  const context = { coupling, seed: 0, values: (name: string) => floats(coupling.graph.tensors.get(name)!) };
  expect(coupling.groups).toHaveLength(1);
  expect(codeOf(() => comparableScores('outgoing', context))).toBe('E_CRITERION');
});
