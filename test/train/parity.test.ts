import { beforeAll, describe, expect, test } from 'vitest';
import type { Tensor } from '../../src/graph/engine.ts';
import { dmp } from '../../src/methods/dmp.ts';
import { routes } from '../../src/methods/index.ts';
import { s2h } from '../../src/methods/s2h.ts';
import { importance, ranksOf } from '../../src/prune/importance.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { sgd } from '../../src/torch/optim.ts';
import type { Fusion } from '../../src/train/fusion.ts';
import { maskGroup, masksOf, recentred } from '../../src/train/mask.ts';
import type { MethodFactory, MethodSettings, Routes } from '../../src/train/method.ts';
import { classification } from '../../src/train/objective.ts';
import { resourceLoss } from '../../src/train/resource.ts';
import type { Search } from '../../src/train/search.ts';
import { expectClose, normOf } from './close.ts';
import { plainEngine } from './engine.ts';
import { array, cases, floatArray, initializerOf, type Loaded, load, type RouteName, weightNames } from './golden.ts';

/** The reference's variants under our names. */
const settingsOf: Readonly<Record<string, Routes | null>> = {
  ...Object.fromEntries(['t1', 't2', 't3', 't4', 't5', 't6'].map(name => [name, routes[name as 't1']])),
  oneway: routes['one-way'],
  bidir: routes.bidirectional,
  dmp: null,
};
/** No route of G. */
const closed: Routes = {
  ...routes.t1,
  weightsThroughHard: null,
  weightsThroughSoft: null,
  masksThroughSoft: null,
};

const common = {
  routes: routes.t1,
  lossCoefficient: 1,
  gapCoefficient: 1,
  searchFrom: 0,
  searchUntil: 1,
  maskLearningRate: 0,
  finishFrom: 1,
  maskEvery: 1,
  maskSchedule: 'constant' as const,
  teacher: 'none' as const,
  labelWeight: 0.3,
  teacherTemperature: 4,
  seed: 0,
};

let torch: Torch;
let inChannelsLast: Torch;
const loaded = new Map<string, Loaded>();
beforeAll(async () => {
  torch = await plainEngine();
  inChannelsLast = await openEngine({ threads: 1 });
  for (const name of Object.keys(cases)) loaded.set(name, load(torch, name));
});

type Moves = Parameters<Search['move']>[0];

/** One step of a shipped method on the case's batch while the masks move: what it gives to theta and u, which stay. */
function step(method: MethodFactory, { name, network, search: searchOf }: Loaded, settings: Partial<MethodSettings>) {
  let gT: (Float32Array | null)[] = [];
  let gU: Moves | undefined;
  const search: Search = Object.assign(Object.create(searchOf()), {
    move(gradients: Moves) {
      gU = gradients;
    },
  });
  const report = torch.scope(() => {
    const { step } = method({
      torch,
      network,
      objective: classification(torch),
      search,
      steps: 10,
      settings: {
        ...common,
        ...settings,
      },
      optimize(gradients) {
        gT = gradients.map(g => g && torch.values(g));
      },
    });
    const labels = torch.tensor(array(`${name}/y`) as BigInt64Array, [8]);
    return step(images(name), { labels, teacher: null }, 1, 0.1);
  });
  return { report, gT, gU: gU! };
}

const images = (name: string): Tensor => torch.tensor(floatArray(`${name}/x`), [8, 3, 32, 32]);

/** Compare a route's gradients, by the reference's names, with the arrays or else the norms and first values kept. */
function expectRoute(
  name: string,
  variant: string,
  route: RouteName,
  found: ReadonlyMap<string, ArrayLike<number> | null>,
  tolerance = 1e-4,
): void {
  const { each } = cases[name].variants[variant][route];
  for (const [tensor, values] of found) {
    const what = `${name} ${variant} ${route} ${tensor}`;
    if (!each) {
      expect(Math.max(0, ...Array.from(values ?? [], Math.abs)), what).toBe(0);
      continue;
    }
    const [norm, ...first] = each[tensor];
    const shared = route === 'gT_L' || route === 'gU_L' || route === 'gU_R' ? 't1' : variant;
    const whole = array(`${name}/${shared}/${route}/${tensor}`);
    const scale = Math.max(norm, 1e-3) * tolerance;
    if (whole) expectClose(values ?? new Float32Array(whole.length), whole as Float32Array, what, tolerance);
    expect(Math.abs(normOf(values ?? []) - norm), `norm of ${what}`).toBeLessThanOrEqual(scale);
    first.forEach((value, i) => {
      expect(Math.abs((values?.[i] ?? 0) - value), `${what}[${i}]`).toBeLessThanOrEqual(scale);
    });
  }
}

const near = (value: number, expected: number, what: string) =>
  expect(Math.abs(value - expected), what).toBeLessThanOrEqual(1e-4);

describe.each(Object.keys(cases))('%s', name => {
  const golden = cases[name];
  const variants = Object.keys(golden.variants);
  const inOrder = <T>(values: Readonly<Record<string, T>>): T[] =>
    [...loaded.get(name)!.groups].sort(([, a], [, b]) => a - b).map(([group]) => values[group]);
  /** Gradients of theta or u by the reference's names. */
  const theta = (gradients: readonly (ArrayLike<number> | null)[]) => {
    const { names } = loaded.get(name)!.network;
    return new Map(weightNames(name).map(weight => [weight, gradients[names.indexOf(initializerOf(weight))]]));
  };
  const logits = (gradients: readonly ArrayLike<number>[]) =>
    new Map([...loaded.get(name)!.groups].map(([group, number]) => [group, gradients[number]]));

  test('groups, their sizes and the MACs', () => {
    const { network, groups, budget } = loaded.get(name)!;
    expect([...groups.values()].sort((a, b) => a - b)).toEqual(network.coupling.groups.map((_, i) => i));
    expect(network.coupling.groups.map(group => group.size)).toEqual(inOrder(golden.groups));
    expect(network.names.toSorted()).toEqual(weightNames(name).map(initializerOf).sort());
    expect(budget.cost.full).toBe(golden.flops_full);
    expect(budget.cost.at(inOrder(golden.counts))).toBe(golden.flops_hard);
  });

  test('the order of channels by L1 norm', () => {
    const { network, groups } = loaded.get(name)!;
    for (const [group, number] of groups) {
      const scores = importance.l1(network.coupling.groups[number], {
        coupling: network.coupling,
        values: network.values,
        seed: 0,
      });
      expect([...ranksOf(scores)], group).toEqual(Array.from(array(`${name}/rank/${group}`) as BigInt64Array, Number));
    }
    const search = loaded.get(name)!.search();
    const before = search.state().ranks;
    search.sort(network.values);
    expect(search.state().ranks).toEqual(before);
  });

  test('soft masks by channel, expected counts, counts of both rules, R of both kinds', () => {
    const { network, groups, budget, search } = loaded.get(name)!;
    const { coupling } = network;
    const masks = search().masks();
    for (const [group, number] of groups) {
      const start = coupling.offsets[number];
      const size = coupling.groups[number].size;
      expectClose(masks.w.subarray(start, start + size), floatArray(`${name}/w/${group}`), `w of ${group}`, 1e-6);
      const u = Float64Array.from(floatArray(`${name}/u/${group}`));
      const choices = maskGroup(size, golden.div ?? 1);
      expect(masksOf(choices, u, 'ceil').count, group).toBe(golden.counts[group]);
      expect(masksOf(choices, u, 'mean').count, group).toBe(golden.counts_mean[group]);
      expect(masks.kept[number].length).toBe(golden.counts[group]);
      near(masks.groups[number].expected, golden.n[group], `E of ${group}`);
    }
    const soft = resourceLoss(budget, masks.groups, 'soft');
    near(soft.value, golden.R_soft, 'R of the expected counts');
    near(soft.ratio, golden.rho_soft, 'rho of the expected counts');
    const hard = resourceLoss(budget, masks.groups, 'hard');
    near(hard.value, golden.variants.t1.R, 'R of the kept counts');
    near(hard.ratio, golden.variants.t1.rho, 'rho of the kept counts');
  });

  test('logits of the soft and the hard network in training mode', () => {
    const { network, search } = loaded.get(name)!;
    const masks = search().masks();
    network.setMask(masks.w);
    network.setKept(masks.kept);
    torch.scope(() => {
      expectClose(torch.values(network.soft(images(name), true)[0]), floatArray(`${name}/s`), 's');
      expectClose(torch.values(network.hard(images(name), true)[0]), floatArray(`${name}/h`), 'h');
    });
  });

  test.each(variants)('%s: losses, the gradients that its step gives to theta and u, the fused directions', variant => {
    const case_ = loaded.get(name)!;
    const expected = golden.variants[variant];
    const setting = settingsOf[variant];
    const run = (settings: Partial<MethodSettings>) => step(setting ? s2h : dmp, case_, settings);
    const { report, gT, gU } = run({ routes: setting ?? closed });
    near(report.L, expected.L, 'L');
    near(report.R!, expected.R, 'R');
    near(report.ratio!, expected.rho, 'rho');
    if (setting) near(report.G!, setting.weightsThroughHard === 'hard-soft' ? expected.KL_hs : expected.G, 'G');
    expectRoute(name, variant, 'gT', theta(gT));
    expectRoute(name, variant, 'gU_L', logits(gU.gL));
    expectRoute(name, variant, 'gU_G', logits(gU.gG));
    expectRoute(name, variant, 'gU_R', logits(gU.gR));
    for (const fusion of ['paper', 'gnorm', 'sum'] as const) expectDirection(variant, fusion, gU);
    // One route at a time; the small networks have them all.
    if (!setting || golden.depth > 8) return;
    expectRoute(name, variant, 'gT_L', theta(run({ routes: setting, gapCoefficient: 0 }).gT));
    const only = (route: Partial<Routes>) =>
      theta(run({ lossCoefficient: 0, routes: { ...closed, coefficient: setting.coefficient, ...route } }).gT);
    expectRoute(name, variant, 'gT_Ghard', only({ weightsThroughHard: setting.weightsThroughHard }));
    expectRoute(name, variant, 'gT_Gsoft', only({ weightsThroughSoft: setting.weightsThroughSoft }));
  });

  test('t1 in channels_last, which training uses', () => {
    const { gT, gU } = step(s2h, load(inChannelsLast, name), {});
    expectRoute(name, 't1', 'gT', theta(gT));
    expectRoute(name, 't1', 'gU_L', logits(gU.gL));
    expectRoute(name, 't1', 'gU_G', logits(gU.gG));
  });

  /** The step that u takes by the search, with a step length of 1, against the reference's direction. */
  const expectDirection = (variant: string, fusion: Fusion, { gL, gG }: Moves) => {
    const search = loaded.get(name)!.search({ fusion, resource: fusion === 'paper' ? 'soft' : 'hard' });
    const before = search.state().u.map(recentred);
    const { gradient, ratio } = search.resource(search.masks());
    search.move({ gL, gG, gR: gradient }, ratio, 1);
    const after = search.state().u;
    const moved = logits(before.map((u, g) => u.map((value, k) => value - after[g][k])));
    const expected = golden.variants[variant][`fuse_${fusion}`];
    const all = [...moved.values()].flatMap(direction => Array.from(direction));
    const what = `${variant} ${fusion}`;
    if (typeof expected === 'number') near(normOf(all), expected, what);
    else expectClose(all, expected.flat(), what);
  };
});

describe.each(Object.keys(cases).filter(name => cases[name].trajectory_t1))('%s, five steps of t1', name => {
  test('losses, the cut and the output of the hard network', () => {
    const { network, search: searchOf } = load(torch, name);
    const search = searchOf();
    const optimizer = sgd(torch, network.parameters, { momentum: 0.9, weightDecay: 5e-4 });
    const method = s2h({
      torch,
      network,
      objective: classification(torch),
      search,
      steps: 100,
      settings: { ...common, maskLearningRate: 0.1 },
      optimize: (gradients, learningRate) => optimizer.step(gradients, learningRate),
    });
    const labels = torch.tensor(array(`${name}/y`) as BigInt64Array, [8]);
    cases[name].trajectory_t1!.forEach(([L, G, R, rho], i) => {
      const report = torch.scope(() => method.step(images(name), { labels, teacher: null }, i + 1, 0.1));
      near(report.L, L, `L of step ${i}`);
      near(report.G!, G, `G of step ${i}`);
      near(report.R!, R, `R of step ${i}`);
      near(report.ratio!, rho, `rho of step ${i}`);
    });
    // The hard network is the soft one under masks of 0 and 1, in both modes.
    const { kept } = search.masks();
    const { offsets, channels } = network.coupling;
    const binary = new Float32Array(channels);
    kept.forEach((channels, g) => {
      for (const channel of channels) binary[offsets[g] + channel] = 1;
    });
    network.setMask(binary);
    network.setKept(kept);
    torch.scope(() => {
      const [masked] = network.soft(images(name), true);
      const [hard] = network.hard(images(name), true);
      const difference = torch.op('amax')(torch.op('abs')(torch.op('sub.Tensor')(masked, hard)));
      expect(torch.item(difference)).toBeLessThanOrEqual(1e-5);
    });
    optimizer.free();
  });
});
