import { expect, test } from 'vitest';
import { operators } from '../../src/ops/index.ts';
import { countedOnce } from '../../src/prune/copies.ts';
import { costOf } from '../../src/prune/cost.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { stream } from '../../src/util/random.ts';
import { couplingOf, type Net, netOf, randomPlan, sizes } from './nets.ts';

/** Two layers whose outputs have a mask added that has no channels, and a vector that has. */
const model = (weightsInNodes: boolean) =>
  netOf(
    (g, x) => {
      const mask = g.weight('mask', [1, 1, 8, 8]);
      const vector = g.weight('vector', [6, 1, 1]);
      const layer = (g: Net, from: string, channels: number, name: string) =>
        g.op('Add', [g.op('Add', [g.conv(from, channels, 6, { name }), mask]), vector]);
      return g.conv(layer(g, layer(g, x, 3, 'a'), 6, 'b'), 6, 2, { name: 'c' });
    },
    { weightsInNodes },
  );

test('what a copy costs is what it takes in the file that a cut leaves', () => {
  const coupling = couplingOf(unshare(model(false), operators));
  expect(sizes(coupling)).toEqual({ 'a.weight': 6, 'b.weight': 6 });
  for (let seed = 0; seed < 4; seed++) {
    const kept = randomPlan(coupling, stream(seed, 'copies'));
    const counts = kept.map(channels => channels.length);
    if (counts.includes(6)) continue;
    const left = cutModel(coupling, kept).graph.initializers;
    const elements = left.reduce((sum, { dims }) => sum + dims.reduce((a, b) => a * b, 1), 0);
    const once = countedOnce(coupling);
    expect(costOf(once, 'params').at(counts)).toBe(elements);
    expect(costOf(once, 'size').at(counts)).toBe(4 * elements);
    expect(costOf(coupling, 'params').at(counts)).toBe(elements + 64);
  }
});

test('copies of a constant in a node read it again', () => {
  const coupling = couplingOf(unshare(model(true), operators));
  const { graph } = cutModel(coupling, [
    [0, 1],
    [2, 3, 4],
  ]);
  const names = [...graph.initializers.map(({ name }) => name), ...graph.nodes.flatMap(({ output }) => output)];
  expect(names.filter(name => name.startsWith('mask'))).toEqual(['mask']);
});
