import { beforeAll, describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { dmp } from '../../src/methods/dmp.ts';
import { countsByShare } from '../../src/methods/fixed-widths.ts';
import { l1 } from '../../src/methods/l1.ts';
import { random } from '../../src/methods/random.ts';
import { s2h } from '../../src/methods/s2h.ts';
import { uniform } from '../../src/methods/uniform.ts';
import { operators } from '../../src/ops/index.ts';
import { admissibleCounts, budgetFor, fits } from '../../src/prune/budget.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { comparableScores, importance } from '../../src/prune/importance.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { classification } from '../../src/train/objective.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { expectClose } from '../train/close.ts';
import { batchAt, classes, type Run, run, steps } from './support.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const share = ({ search, method }: Run) =>
  search.budget.cost.at(method.result()!.map(channels => channels.length)) / search.budget.cost.full;

describe.each([
  ['s2h', s2h],
  ['dmp', dmp],
] as const)('%s with the compact network alone from step 14', (_, factory) => {
  test('it is cut when the masks are frozen, and only what it kept learns', () => {
    const { method, network, reports, gradients } = run(torch, factory, { settings: { finishFrom: 0.7 } });
    expect(method.phases.map(({ name, start, alone }) => [name, start, alone ?? false])).toEqual([
      ['warm-up', 0, false],
      ['search', 5, false],
      ['finish', 14, true],
    ]);
    expect([method.views(13), method.views(14)]).toEqual([['soft', 'hard'], ['hard']]);
    const kept = method.result()!;
    const [group] = network.coupling.groups.keys();
    const convolution = network.coupling.groups[group].members.find(member => member.weight === 'out')!;
    const gradient = gradients[steps - 1][network.names.indexOf(convolution.value)]!;
    const rows = network.coupling.groups[group].size;
    const width = gradient.length / rows;
    for (let row = 0; row < rows; row++) {
      const norm = Math.hypot(...gradient.subarray(row * width, (row + 1) * width));
      expect(norm > 0, `row ${row}`).toBe(kept[group].includes(row));
    }
    expect(reports.slice(14).every(({ L, G, R }) => Number.isFinite(L) && G === undefined && R === undefined)).toBe(
      true,
    );
  });

  test('a soft teacher is the soft network as it was at the cut, and does not learn', () => {
    const before = run(torch, factory, { settings: { finishFrom: 0.7 }, until: 14 });
    const after = run(torch, factory, { settings: { finishFrom: 0.7, teacher: 'soft', labelWeight: 0 } });
    torch.scope(() => {
      const { images } = batchAt(torch, 99);
      before.method.result();
      const [taught] = after.network.taught(images);
      expectClose(torch.values(taught), torch.values(before.network.soft(images, false)[0]), 'answers');
    });
    expect(after.reports[14].G).toBeGreaterThan(0);
  });

  test.each([0, 0.5, 1])('masks that never move keep the strongest channels, asked at the cut: from %f', at => {
    const settings = { searchFrom: at, searchUntil: at, finishFrom: at };
    const until = Math.round(at * steps);
    const { method, network } = run(torch, factory, { settings, until });
    // The step that follows cuts the network as it stands.
    if (until < steps) {
      const next = run(torch, factory, { settings, until: until + 1 });
      expect(method.result()).toEqual(next.method.result());
    }
    const { coupling, values } = network;
    method.result()!.forEach((kept, g) => {
      const scores = importance.l1(coupling.groups[g], { coupling, values, seed: 0 });
      const strongest = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, kept.length);
      expect(kept).toEqual(strongest.sort((a, b) => a - b));
    });
  });
});

test('with a teacher theta learns from alpha L + (1 - alpha) T^2 G at temperature T', () => {
  const settings = { finishFrom: 0.7, teacher: 'soft' as const, labelWeight: 0.25, teacherTemperature: 3 };
  const { network, gradients } = run(torch, s2h, { settings, learn: false });
  torch.scope(() => {
    const { images, labels } = batchAt(torch, steps - 1);
    const [h] = network.hard(images, true);
    const [t] = network.taught(images);
    const soft = (x: typeof h) => torch.op('softmax.int')(torch.op('div.Scalar')(x, 3), 1);
    const log = torch.op('log');
    const times = torch.op('mul.Tensor');
    // sum of p (ln p - ln q) over classes, mean over the 16 images
    const KL = torch.op('sum')(times(soft(t), torch.op('sub.Tensor')(log(soft(t)), log(soft(h)))));
    const L = classification(torch).loss([h], { labels, teacher: null });
    const loss = torch.op('add.Tensor')(torch.op('mul.Scalar')(L, 0.25), torch.op('mul.Scalar')(KL, (0.75 * 9) / 16));
    torch.grad(loss, network.parameters).forEach((gradient, i) => {
      expectClose(gradients[steps - 1][i]!, torch.values(gradient!), network.names[i]);
    });
  });
});

describe.each([
  ['uniform', uniform],
  ['l1', l1],
  ['random', random],
] as const)('%s', (name, factory) => {
  test('the network is cut before the first step, to the budget from below, and learns', () => {
    const done = run(torch, factory);
    expect(done.method.phases).toEqual([{ name: 'finish', start: 0, alone: true }]);
    expect(done.method.views(0)).toEqual(['hard']);
    expect(share(done)).toBeLessThanOrEqual(0.4);
    expect(share(done)).toBeGreaterThanOrEqual(0.4 - 0.005);
    expect(done.states.slice(1).every(({ counts }) => `${counts}` === `${done.states.at(-1)!.counts}`)).toBe(true);
    const losses = done.reports.map(report => report.L);
    expect(mean(losses.slice(-4))).toBeLessThan(mean(losses.slice(0, 4)) - 0.2);
  });

  test('which widths', () => {
    const { search, network, method } = run(torch, factory, { until: 1, learn: false });
    const kept = method.result()!;
    const sizes = network.coupling.groups.map(group => group.size);
    if (name === 'uniform') {
      // One share for all, but for what fills the budget up: one step in some groups.
      const shares = kept.map((channels, g) => channels.length / sizes[g]);
      const smallest = Math.min(...shares);
      for (const [g, share] of shares.entries()) expect(share - smallest).toBeLessThanOrEqual(2 / sizes[g] + 1e-9);
    }
    if (name === 'l1') {
      const scores = comparableScores('l1', { coupling: network.coupling, values: network.values, seed: 0 });
      const lost = scores.flatMap((own, g) => [...own].filter((_, c) => !kept[g].includes(c)));
      const stays = scores.flatMap((own, g) => kept[g].map(c => own[c]));
      const below = stays.filter(score => score < Math.max(...lost)).length;
      expect(below / stays.length).toBeLessThan(0.2);
    }
    if (name === 'random') {
      const other = run(torch, factory, { until: 1, learn: false, settings: { seed: 1 } }).method.result()!;
      expect(other.map(channels => channels.length)).not.toEqual(kept.map(channels => channels.length));
      const again = run(torch, factory, { until: 1, learn: false }).method.result()!;
      expect(again).toEqual(kept);
    }
    // Which channels: the best in the order of the run.
    for (const [g, channels] of kept.entries()) {
      const ranks = search.state().ranks[g];
      expect([...ranks.keys()].filter(channel => ranks[channel] < channels.length)).toEqual(channels);
    }
  });
});

test('where width steps are coarse, groups of one size still differ by one step at most', () => {
  const coupling = coupleGraph(
    buildGraph(buildNetwork('resnet8', { classes, channels: 3, size: [8, 8], seed: 0 }), operators),
  );
  const budget = budgetFor(coupling, { resource: 'macs', value: 0.5 }, 8);
  const admissible = coupling.groups.map(({ size }) => admissibleCounts(size, 8));
  const choice = { coupling, budget, admissible, values: () => new Float32Array(), seed: 0 };
  const counts = countsByShare(
    choice,
    admissible.map(() => 1),
  );
  expect(fits(budget, counts)).toBe(true);
  for (const [g, { size }] of coupling.groups.entries()) {
    const alike = counts.filter((_, other) => coupling.groups[other].size === size);
    expect(counts[g] - Math.min(...alike)).toBeLessThanOrEqual(8);
  }
});
