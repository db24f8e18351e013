import { beforeAll, describe, expect, test } from 'vitest';
import { dmp } from '../../src/methods/dmp.ts';
import { methods, routes } from '../../src/methods/index.ts';
import { l1 } from '../../src/methods/l1.ts';
import { plain } from '../../src/methods/plain.ts';
import { random } from '../../src/methods/random.ts';
import { s2h } from '../../src/methods/s2h.ts';
import { uniform } from '../../src/methods/uniform.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { keptIndices } from '../../src/prune/plan.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { movesOf } from '../../src/train/method.ts';
import { createNetwork } from '../../src/train/network.ts';
import { classification } from '../../src/train/objective.ts';
import { expectClose, largestDifference, normOf } from '../train/close.ts';
import { batchAt, type Run, run, steps, viewsRun } from './support.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const share = ({ search }: Run, kept: readonly (readonly unknown[])[]) =>
  search.budget.cost.at(kept.map(channels => channels.length)) / search.budget.cost.full;

test('the table has every method', () => {
  expect(methods).toEqual({ s2h, dmp, l1, uniform, random, plain });
});

describe.each([
  ['s2h', s2h],
  ['dmp', dmp],
] as const)('20 steps of %s', (name, factory) => {
  let done: Run;
  let whole: Run;
  beforeAll(() => {
    done = run(torch, factory);
    whole = run(torch, factory, {
      settings: { searchFrom: 0, searchUntil: 1 },
      search: { count: 'mean', resource: 'soft' },
    });
  });

  test('it learns, and every loss is a number', () => {
    const losses = done.reports.map(report => report.L);
    expect(mean(losses.slice(-4))).toBeLessThan(mean(losses.slice(0, 4)) - 0.2);
    for (const report of done.reports) {
      for (const value of [report.L, report.R, report.ratio]) expect(value).toSatisfy(Number.isFinite);
      if (name === 's2h') expect(report.G).toBeGreaterThanOrEqual(-1e-6);
      else expect(report.G).toBeUndefined();
    }
  });

  test('a cut before the first step that trains it alone lands on the budget, as that step does', () => {
    const options = { settings: { searchUntil: 0.6, finishFrom: 0.6 }, search: { maskStart: 0.3 }, budget: 0.9 };
    const cut = run(torch, factory, { ...options, until: 12 });
    expect(cut.search.frozen).toBe(false);
    expect(share(cut, cut.method.result()!)).toBeGreaterThan(0.88);
    const alone = run(torch, factory, { ...options, until: 13 });
    expect(cut.search.state()).toEqual(alone.search.state());
  });

  test('the phases: u moves from searchFrom to searchUntil only, its order is set once, then the counts are fixed', () => {
    expect(done.method.phases.map(phase => phase.start)).toEqual([0, 5, 14]);
    const { states } = done;
    const moved = states.slice(1).map((state, step) => state.u !== states[step].u);
    const sorted = states.slice(1).map((state, step) => state.ranks !== states[step].ranks);
    for (let step = 0; step < steps; step++) {
      // Step 14 lands on the budget.
      expect(moved[step], `u in step ${step}`).toBe(step >= 5 && step <= 14);
      expect(sorted[step], `ranks in step ${step}`).toBe(step === 5);
      expect(states[step + 1].counts !== null, `counts after step ${step}`).toBe(step >= 14);
    }
    expect(done.reports[4].ratio).toBe(1);
    expect(done.reports[13].ratio).toBeLessThan(1);
  });

  test('the steps that move the masks are counted by their rule', () => {
    for (const maskEvery of [1, 3, 4, 7, 30]) {
      for (const [searchFrom, searchUntil] of [
        [0.25, 0.7],
        [0, 1],
        [0, 0],
        [0.3, 0.4],
      ]) {
        const { method, states } = run(torch, factory, { settings: { searchFrom, searchUntil, maskEvery } });
        const end = method.phases.find(phase => phase.name === 'freeze')?.start ?? steps;
        const moves = states.slice(1).filter((state, step) => step < end && state.u !== states[step].u);
        const settings = { searchFrom, searchUntil, finishFrom: 1, maskEvery };
        expect(movesOf(settings, steps), JSON.stringify(settings)).toBe(moves.length);
      }
    }
  });

  test('with a cosine schedule the first move is the same and the last ones are short', () => {
    const falling = run(torch, factory, { settings: { maskSchedule: 'cosine' } });
    const length = ({ states }: Run, step: number) =>
      Math.hypot(...states[step + 1].u.flatMap((u, g) => [...u].map((x, k) => x - states[step].u[g][k])));
    expect(falling.states[6].u).toEqual(done.states[6].u);
    expect(length(falling, 13)).toBeLessThan(0.1 * length(falling, 5));
    expect(length(done, 13)).toBeGreaterThan(0.2 * length(done, 5));
  });

  test('the result is within the budget, met from below, and what the hard network then is', () => {
    for (const each of [done, whole]) {
      const before = each.search.frozen;
      const last = each.search.masks().kept;
      const kept = each.method.result()!;
      expect(before).toBe(each === done);
      expect(each.search.frozen).toBe(true);
      expect(share(each, kept)).toBeLessThanOrEqual(0.4);
      // Where the masks moved to the end, what was trained is what stays.
      if (each === done) expect(share(each, kept)).toBeGreaterThanOrEqual(0.4 - 0.005);
      else if (share(each, last) <= 0.4) expect(kept).toEqual(last);
      expect(each.network.kept).toEqual(kept);
      expect(each.method.result()).toEqual(kept);
      each.network.coupling.groups.forEach((group, g) => {
        const ranks = each.search.state().ranks[g];
        expect(kept[g], group.name).toEqual([...ranks.keys()].filter(channel => ranks[channel] < kept[g].length));
      });
    }
  });

  test('after the freeze the reported share is that of the channels kept', () => {
    const kept = done.method.result()!;
    for (const report of done.reports.slice(14)) expect(report.ratio).toBe(share(done, kept));
  });

  test('counts are multiples of the granularity', () => {
    const { method, search, network } = run(torch, factory, { search: { granularity: 4 }, budget: 0.5, until: 10 });
    const kept = method.result()!;
    kept.forEach((channels, g) => {
      expect(channels.length % 4, network.coupling.groups[g].name).toBe(0);
    });
    expect(search.budget.cost.at(kept.map(channels => channels.length)) / search.budget.cost.full).toBeLessThanOrEqual(
      0.5,
    );
  });

  test('the cut file is the hard network, with its statistics', () => {
    const { network, method } = done;
    const kept = method.result()!;
    const exported = createNetwork(torch, network.exported('hard'));
    const small = createNetwork(torch, cutModel(exported.coupling, kept));
    torch.scope(() => {
      const { images } = batchAt(torch, 99);
      expectClose(
        torch.values(small.dense(images, false)[0]),
        torch.values(network.hard(images, false)[0]),
        'logits',
        1e-5,
      );
    });
  });
});

describe('s2h: which gradient goes where', () => {
  const only = { learn: false, until: 8, search: { perMember: false } };

  test('route 4 is closed: the gap reaches theta through the hard network only', () => {
    const t1 = run(torch, s2h, only);
    const both = run(torch, s2h, { ...only, settings: { routes: routes.bidirectional } });
    expect(t1.reports).toEqual(both.reports);
    expect(t1.states.at(-1)!.u).toEqual(both.states.at(-1)!.u); // u is told the same
    // What bidirectional adds is the gradient of KL(s || h) for theta through s, h held.
    const { network, search } = both;
    const before = { ...both.states[7] };
    search.load(before);
    const masks = search.masks();
    network.setMask(masks.w);
    network.setKept(masks.kept);
    torch.scope(() => {
      const { images } = batchAt(torch, 7);
      const h = network.hard(images, true).map(torch.detach);
      const throughSoft = torch.grad(classification(torch).gap(network.soft(images, true), h), network.parameters);
      const added = both.gradients[7].map((g, i) => g!.map((x, at) => x - t1.gradients[7][i]![at]));
      const scale = normOf(throughSoft.map(g => normOf(torch.values(g!))));
      expect(scale).toBeGreaterThan(1e-3);
      network.names.forEach((name, i) => {
        expect(largestDifference(added[i], torch.values(throughSoft[i]!)), name).toBeLessThanOrEqual(1e-3 * scale);
      });
    });
  });

  test('through the hard network the parameters of cut channels receive exactly 0', () => {
    const { network, search, gradients, states } = run(torch, s2h, { ...only, settings: { lossCoefficient: 0 } });
    search.load(states[7]);
    const { kept } = search.masks();
    expect(kept.some((channels, g) => channels.length < network.coupling.groups[g].size)).toBe(true);
    const left = keptIndices(network.coupling, kept);
    network.names.forEach((name, i) => {
      const rows = left({ value: name, axis: 0 });
      if (!rows) return;
      const values = gradients[7][i]!;
      const size = values.length / network.coupling.graph.tensors.get(name)!.dims[0];
      for (let row = 0; row * size < values.length; row++) {
        const largest = Math.max(...values.subarray(row * size, (row + 1) * size).map(Math.abs));
        if (!rows.includes(row)) expect(largest, `${name}[${row}]`).toBe(0);
      }
      expect(normOf(values), name).toBeGreaterThan(0);
    });
  });

  test('one-way: the gap tells the masks nothing', () => {
    const search = { perMember: false, fusion: 'sum' } as const;
    const silent = run(torch, s2h, { ...only, search, settings: { routes: routes['one-way'] } });
    const deaf = run(torch, s2h, { ...only, search: { ...search, maskGapWeight: 0 } });
    const heard = run(torch, s2h, { ...only, search });
    expect(silent.states.at(-1)!.u).toEqual(deaf.states.at(-1)!.u);
    expect(silent.states.at(-1)!.u).not.toEqual(heard.states.at(-1)!.u);
    expect(silent.gradients[5]).toEqual(heard.gradients[5]); // theta is told the same
  });

  test('the coefficients of L and G', () => {
    const at = (lossCoefficient: number, gapCoefficient: number) =>
      run(torch, s2h, {
        ...only,
        until: 1,
        settings: { lossCoefficient, gapCoefficient, searchFrom: 0 },
        search: { count: 'mean' },
      }).gradients[0];
    const [l, g, mixed] = [at(1, 0), at(0, 1), at(0.5, 5)];
    mixed.forEach((values, i) => {
      expectClose(
        values!,
        l[i]!.map((x, k) => 0.5 * x + 5 * g[i]![k]),
        `parameter ${i}`,
        1e-5,
      );
    });
    expect(normOf(g.map(values => normOf(values!)))).toBeGreaterThan(0);
  });

  test.each([
    ['t1', ['soft', 'grad', 'hard', 'grad'], ['soft', 'grad', 'hard', 'grad', 'grad']],
    ['one-way', ['soft', 'grad', 'hard', 'grad'], ['soft', 'grad', 'hard', 'grad']],
    ['bidirectional', ['soft', 'grad', 'hard', 'grad', 'grad'], ['soft', 'grad', 'hard', 'grad', 'grad']],
  ] as const)('%s: passes of a step while masks rest, and while they move', (name, rest, move) => {
    const calls: string[] = [];
    run(torch, s2h, {
      ...only,
      settings: { routes: routes[name], searchFrom: 0.05, searchUntil: 0.1 },
      until: 3,
      watch: viewsRun(calls),
    });
    expect(calls).toEqual([...rest, ...move, ...rest]);
  });
});

describe('dmp', () => {
  test('the hard network never runs, and is at last the soft one’s weights and statistics, cut', () => {
    const calls: string[] = [];
    const { network, method } = run(torch, dmp, { watch: viewsRun(calls) });
    expect(new Set(calls)).toEqual(new Set(['soft', 'grad']));
    expect(calls.filter(call => call === 'grad').length).toBe(steps);
    const kept = method.result()!;
    const small = createNetwork(torch, cutModel(createNetwork(torch, network.exported('soft')).coupling, kept));
    torch.scope(() => {
      const { images } = batchAt(torch, 99);
      expectClose(
        torch.values(network.hard(images, false)[0]),
        torch.values(small.dense(images, false)[0]),
        'logits',
        1e-5,
      );
    });
  });

  test('in between, the hard network is the one that the masks say, with the soft one’s statistics', () => {
    const { network } = run(torch, dmp, { until: 10, learn: false });
    const small = () =>
      createNetwork(torch, cutModel(createNetwork(torch, network.exported('soft')).coupling, network.kept));
    expect(network.kept.some((channels, g) => channels.length < network.coupling.groups[g].size)).toBe(true);
    torch.scope(() => {
      const { images } = batchAt(torch, 99);
      const hard = torch.values(network.hard(images, false)[0]);
      expectClose(hard, torch.values(small().dense(images, false)[0]), 'logits', 1e-5);
    });
  });

  test('looking at the hard network in between changes nothing', () => {
    const looks = (look: boolean) => {
      const { network, method, reports } = run(torch, dmp, {
        watch: (torch, network) => ({
          torch,
          network: Object.assign(Object.create(network), {
            soft: (...[images, training]: Parameters<typeof network.soft>) => {
              if (look) torch.noGrad(() => network.hard(images, false));
              return network.soft(images, training);
            },
          }),
        }),
      });
      method.result();
      return torch.scope(() => ({ reports, logits: torch.values(network.hard(batchAt(torch, 99).images, false)[0]) }));
    };
    expect(looks(true)).toEqual(looks(false));
  });

  test('u hears L and R, at no weight of the gap', () => {
    const at = (maskGapWeight: number) => run(torch, dmp, { until: 8, search: { maskGapWeight } }).states.at(-1)!.u;
    expect(at(0)).toEqual(at(1));
  });
});

test('plain: the dense network alone learns, nothing is cut', () => {
  const calls: string[] = [];
  const { method, reports, states } = run(torch, plain, { watch: viewsRun(calls) });
  expect(calls).toEqual(Array.from({ length: steps }, () => ['dense', 'grad']).flat());
  expect(mean(reports.slice(-4).map(report => report.L))).toBeLessThan(
    mean(reports.slice(0, 4).map(report => report.L)) - 0.2,
  );
  expect(Object.keys(reports[0])).toEqual(['L']);
  expect(method.result()).toBeNull();
  expect(method.phases).toEqual([{ name: 'train', start: 0 }]);
  expect(new Set(states.map(state => state.u)).size).toBe(1);
});
