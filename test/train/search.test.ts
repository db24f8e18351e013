import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { floats } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { budgetFor } from '../../src/prune/budget.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { createSearch, type Search, type SearchSettings, type SearchState } from '../../src/train/search.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { normOf } from './close.ts';
import { normals, type Random, seeds, stream } from './random.ts';

const model = buildNetwork('resnet8', { classes: 10, channels: 3, size: [32, 32], seed: 4, width: 4 });
const coupling = coupleGraph(buildGraph(model, operators));
const values = (name: string) => floats(coupling.graph.tensors.get(name)!);

const defaults: SearchSettings = {
  ...{ count: 'ceil', resource: 'soft', fusion: 'sum', kappa: 2, relax: 0.01, maskGapWeight: 1, perMember: false },
  ...{ temperature: 1, maskStart: 1, granularity: 1, order: 'l1', seed: 0 },
};
const searchOf = (settings: Partial<SearchSettings> = {}, fraction = 0.5): Search =>
  createSearch(coupling, budgetFor(coupling, { resource: 'macs', value: fraction }, settings.granularity), {
    ...defaults,
    ...settings,
  });

/** Any u and any order of channels. */
const drawn = (search: Search, random: Random): SearchState => ({
  u: search.state().u.map(({ length }) => normals(random, length, 2)),
  ranks: coupling.groups.map(({ size }) => random.permutation(size)),
  counts: null,
});
const zeros = (search: Search) => search.state().u.map(({ length }) => new Float64Array(length));
const loadU = (search: Search, u: readonly Float64Array[]) => search.load({ ...search.state(), u });

/** Central differences of `loss` by every logit. */
function numeric(search: Search, loss: () => number): Float64Array[] {
  const { u } = search.state();
  const h = 1e-5;
  const gradient = u.map((logits, g) =>
    logits.map((_, k) => {
      const at = (by: number) => {
        loadU(
          search,
          u.map((x, i) => (i === g ? x.map((value, j) => (j === k ? value + by : value)) : x)),
        );
        return loss();
      };
      return (at(h) - at(-h)) / (2 * h);
    }),
  );
  loadU(search, u);
  return gradient;
}

const expectSame = (
  found: readonly Float64Array[],
  expected: readonly Float64Array[],
  what: string,
  tolerance: number,
) =>
  found.forEach((g, i) => {
    expect(normOf(g.map((x, k) => x - expected[i][k])), `${what}, group ${i}`).toBeLessThanOrEqual(
      tolerance * Math.max(1, normOf(expected[i])),
    );
  });

test('it starts with everything kept, in natural order', () => {
  const search = searchOf();
  const { kept, w, groups } = search.masks();
  expect(kept).toEqual(coupling.groups.map(({ size }) => Array.from({ length: size }, (_, i) => i)));
  expect(w.length).toBe(coupling.channels);
  groups.forEach(({ expected }, g) => {
    expect(expected).toBeCloseTo(coupling.groups[g].size - 0.5, 9);
  });
  expect(search.frozen).toBe(false);
});

describe.each(seeds(4))('seed %i', seed => {
  test('masks go to channels by rank, and the first ranks are kept', () => {
    const random = stream(seed, 'search test');
    for (const count of ['ceil', 'mean'] as const) {
      const search = searchOf({ count, granularity: 1 + random.int(2) });
      const state = drawn(search, random);
      search.load(state);
      const { groups, w, kept } = search.masks();
      state.ranks.forEach((ranks, g) => {
        ranks.forEach((rank, channel) => {
          expect(w[coupling.offsets[g] + channel]).toBe(Math.fround(groups[g].w[rank]));
          expect(kept[g].includes(channel)).toBe(rank < groups[g].count);
        });
        expect(kept[g]).toEqual(kept[g].toSorted((a, b) => a - b));
      });
    }
  });

  test('gradients by channel become those of u, and R’s too: finite differences', () => {
    const random = stream(seed, 'search test');
    const search = searchOf({ temperature: 0.7, granularity: 1 + random.int(2) });
    search.load(drawn(search, random));
    const a = normals(random, coupling.channels);
    // w is rounded to float32; the sum is taken by rank, where it is not.
    const loss = () => {
      const { groups } = search.masks();
      return search
        .state()
        .ranks.reduce(
          (sum, ranks, g) =>
            ranks.reduce((s, rank, channel) => s + a[coupling.offsets[g] + channel] * Math.sin(groups[g].w[rank]), sum),
          0,
        );
    };
    const masks = search.masks();
    const dw = masks.w.map((w, i) => a[i] * Math.cos(w));
    expectSame(search.toLogits(masks, dw), numeric(search, loss), 'w', 1e-5);
    const { gradient, ratio, value } = search.resource(masks);
    expect(value).toBeCloseTo((ratio - 0.5) ** 2, 12);
    expectSame(
      gradient,
      numeric(search, () => search.resource(search.masks()).value),
      'R',
      1e-7,
    );
  });

  test('a step goes against the sum of the gradients, recentred; per member weight where asked', () => {
    const random = stream(seed, 'search test');
    // The first convolution and every block's last share the stream: two weights, one in each block's inside.
    const members = coupling.groups.map(group =>
      /^(conv1|layer[23]\.0\.(conv2|downsample\.0))\.weight$/.test(group.name) ? 2 : 1,
    );
    expect(members.filter(count => count === 2).length).toBe(3);
    for (const perMember of [false, true]) {
      const search = searchOf({ perMember, maskGapWeight: 0.3 });
      const state = drawn(search, random);
      search.load(state);
      const [gL, gG, gR] = [0, 1, 2].map(() => zeros(search).map(g => normals(random, g.length)));
      search.move({ gL, gG, gR }, 0.6, 0.25);
      search.state().u.forEach((after, g) => {
        const by = perMember ? members[g] : 1;
        const moved = state.u[g].map((x, k) => x - (0.25 * (gL[g][k] + 0.3 * gG[g][k] + gR[g][k])) / by);
        const mean = moved.reduce((sum, x) => sum + x, 0) / moved.length;
        after.forEach((x, k) => {
          expect(x).toBeCloseTo(moved[k] - mean, 10);
        });
      });
    }
  });

  test('steps against R alone reach the budget from either side', () => {
    const random = stream(seed, 'search test');
    for (const resource of ['soft', 'hard'] as const) {
      const search = searchOf({ fusion: 'gnorm', resource }, 0.3 + 0.5 * random.uniform());
      search.load({ ...drawn(search, random), u: zeros(search).map(g => normals(random, g.length)) });
      for (let i = 0; i < 400; i++) {
        const { gradient, ratio } = search.resource(search.masks());
        search.move({ gL: zeros(search), gG: zeros(search), gR: gradient }, ratio, 0.03);
      }
      // One channel of this narrow network is up to 8 % of its MACs.
      expect(Math.abs(search.resource(search.masks()).ratio - search.budget.fraction)).toBeLessThan(
        resource === 'soft' ? 0.02 : 0.09,
      );
    }
  });

  test('freezing lands on the budget: what is kept is what is reported, once and for all', () => {
    const random = stream(seed, 'search test');
    for (const count of ['ceil', 'mean'] as const) {
      const search = searchOf({ count, resource: 'hard' }, 0.3 + 0.5 * random.uniform());
      search.load(drawn(search, random));
      search.freeze();
      const { counts, u } = search.state();
      expect(search.frozen).toBe(true);
      const { kept, groups } = search.masks();
      expect(kept.map(channels => channels.length)).toEqual(counts);
      expect(groups.map(group => group.count)).toEqual(counts);
      const { cost, fraction } = search.budget;
      expect(cost.at(counts!) / cost.full).toBeLessThanOrEqual(fraction);
      expect(cost.at(counts!) / cost.full).toBeGreaterThan(fraction - 0.02);
      expect(search.resource(search.masks()).ratio).toBe(cost.at(counts!) / cost.full);
      for (const logits of u) expect(logits.reduce((sum, x) => sum + x, 0)).toBeCloseTo(0, 8);
      search.freeze();
      expect(search.state()).toEqual({ ...search.state(), counts, u });
    }
  });

  test('stopping leaves counts and masks as they were where they meet the budget, and lands on it where they do not', () => {
    const random = stream(seed, 'search test');
    for (const count of ['ceil', 'mean'] as const) {
      const drawnFrom = searchOf({ count }, 0.5);
      const state = drawn(drawnFrom, random);
      drawnFrom.load(state);
      const { groups } = drawnFrom.masks();
      const { cost } = drawnFrom.budget;
      const ratio = cost.at(groups.map(group => group.count)) / cost.full;

      const met = searchOf({ count }, Math.min(1, ratio + 0.1));
      met.load(state);
      const before = met.masks();
      met.stop();
      expect(met.frozen).toBe(true);
      expect(met.masks()).toEqual(before);

      const exceeded = searchOf({ count }, 0.8 * ratio);
      exceeded.load(state);
      exceeded.stop();
      const frozen = searchOf({ count }, 0.8 * ratio);
      frozen.load(state);
      frozen.freeze();
      expect(exceeded.state()).toEqual(frozen.state());
      exceeded.stop();
      expect(exceeded.state()).toEqual(frozen.state());
    }
  });
});

describe('the order of channels', () => {
  const sorted = (settings: Partial<SearchSettings>) => {
    const search = searchOf(settings);
    search.sort(values);
    return search.state().ranks;
  };

  test('l1: the mean of the filters’ absolute sums over a group’s weights, largest first', () => {
    const ranks = sorted({ order: 'l1' });
    coupling.groups.forEach((group, g) => {
      const weights = group.members.filter(member => member.weight === 'out').map(member => values(member.value));
      const scores = Array.from({ length: group.size }, (_, channel) =>
        weights.reduce((sum, w) => {
          const length = w.length / group.size;
          return sum + w.subarray(channel * length, (channel + 1) * length).reduce((a, x) => a + Math.abs(x), 0);
        }, 0),
      );
      const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
      expect([...ranks[g]], group.name).toEqual(scores.map((_, channel) => order.indexOf(channel)));
    });
  });

  test('natural, and random by seed', () => {
    expect(sorted({ order: 'natural' })).toEqual(
      coupling.groups.map(({ size }) => Int32Array.from({ length: size }, (_, i) => i)),
    );
    const random = sorted({ order: 'random', seed: 1 });
    for (const ranks of random) expect([...ranks].sort((a, b) => a - b)).toEqual([...ranks.keys()]);
    expect(sorted({ order: 'random', seed: 1 })).toEqual(random);
    expect(sorted({ order: 'random', seed: 2 })).not.toEqual(random);
  });
});

test('its state can be put away and taken up again', () => {
  const search = searchOf();
  search.load(drawn(search, stream(1, 'state')));
  const state = structuredClone(search.state());
  const masks = search.masks();
  const gradients = {
    gL: zeros(search).map(g => g.fill(1).map((x, k) => x * k)),
    gG: zeros(search),
    gR: zeros(search),
  };
  search.move(gradients, 0.5, 1);
  search.freeze();
  const later = structuredClone(search.state());
  search.load(state);
  expect(search.masks()).toEqual(masks);
  expect(search.frozen).toBe(false);
  const other = searchOf();
  other.load(later);
  expect(other.frozen).toBe(true);
  expect(other.state()).toEqual(later);
  later.u[0].fill(0);
  expect(other.state().u[0]).not.toEqual(later.u[0]);
});
