import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { operators } from '../../src/ops/index.ts';
import { type Cost, costOf } from '../../src/prune/cost.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import golden from '../zoo/golden.json' with { type: 'json' };
import { asPublished } from '../zoo/models.ts';

const couplingOf = (name: string, shortcut?: 'A' | 'B') => {
  const model = buildNetwork(name, { ...asPublished(name), shortcut, initialise: false });
  return coupleGraph(buildGraph(model, operators));
};

describe('parameters and MACs are what PyTorch counts', () => {
  test.each(Object.entries(golden.counts))('%s', (key, { params, macs }) => {
    const [name, shortcut] = key.split(' ') as [string, 'A' | undefined];
    const coupling = couplingOf(name, shortcut);
    expect(costOf(coupling, 'params').full).toBe(params);
    expect(costOf(coupling, 'macs')).toMatchObject({ full: macs, unknown: [] });
  });
});

describe.each([
  ['resnet20', 'A'],
  ['resnet20', 'B'],
  ['lenet5', undefined],
  ['mlp', undefined],
  ['resnet50-cifar', undefined],
] as const)('%s %s after a random cut', (name, shortcut) => {
  const seed = 11;
  const coupling = couplingOf(name, shortcut);
  const random = stream(seed, name);
  const kept = coupling.groups.map(({ size }) =>
    [...random.permutation(size)].slice(0, 1 + random.int(size)).sort((a, b) => a - b),
  );
  const counts = kept.map(channels => channels.length);
  const cut = coupleGraph(buildGraph(cutModel(coupling, kept), operators));

  test.each(['macs', 'params', 'size'] as const)('%s are those of the cut file', resource => {
    expect(costOf(coupling, resource).at(counts)).toBeCloseTo(costOf(cut, resource).full, 3);
  });

  test('the gradient is that of the finite differences', () => {
    const cost: Cost = costOf(coupling, 'macs');
    const gradient = cost.gradient(counts);
    const step = 1e-3;
    counts.forEach((_, group) => {
      const [ahead, behind] = [step, -step].map(s => cost.at(counts.map((c, i) => (i === group ? c + s : c))));
      expect((ahead - behind) / (2 * step) / gradient[group]).toBeCloseTo(1, 5);
    });
  });
});
