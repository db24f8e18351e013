import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { operators } from '../../src/ops/index.ts';
import { type Budget, budgetFor } from '../../src/prune/budget.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { type CountRule, maskGroup, masksOf } from '../../src/train/mask.ts';
import { resourceLoss, snap } from '../../src/train/resource.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { normals, type Random, seeds, stream } from './random.ts';

const networks = { wide: 16, narrow: 4 };
const coupled = Object.fromEntries(
  Object.entries(networks).map(([name, width]) => {
    const model = buildNetwork('resnet8', {
      classes: 10,
      channels: 3,
      size: [32, 32],
      seed: 0,
      width,
      initialise: false,
    });
    return [name, coupleGraph(buildGraph(model, operators))];
  }),
);

interface Case {
  readonly budget: Budget;
  readonly groups: ReturnType<typeof maskGroup>[];
}
const caseOf = (
  network: string,
  fraction: number,
  granularity = 1,
  resource: 'macs' | 'params' | 'size' = 'macs',
): Case => ({
  budget: budgetFor(coupled[network], { resource, value: fraction }, granularity),
  groups: coupled[network].groups.map(group => maskGroup(group.size, granularity)),
});
const share = ({ cost }: Budget, counts: readonly number[]) => cost.at(counts) / cost.full;

/** Logits with a peak somewhere in each group, as training makes them. */
const peaked = ({ groups }: Case, random: Random): Float64Array[] =>
  groups.map(group => {
    const peak = random.int(group.counts.length);
    const steep = 0.2 + 2 * random.uniform();
    return normals(random, group.counts.length).map((x, k) => x - steep * Math.abs(k - peak));
  });

describe.each(['macs', 'params', 'size'] as const)('R on %s', resource => {
  test.each(seeds(6))('soft rule: value at the expected counts, gradient by finite differences (seed %i)', seed => {
    const random = stream(seed, 'resource test');
    const { budget, groups } = caseOf('wide', 0.2 + 0.6 * random.uniform(), 1, resource);
    const masks = groups.map(group => masksOf(group, normals(random, group.counts.length, 3), 'ceil'));
    const { value, ratio, dExpected } = resourceLoss(budget, masks, 'soft');
    expect(ratio).toBeCloseTo(
      share(
        budget,
        masks.map(mask => mask.expected),
      ),
      12,
    );
    expect(value).toBeCloseTo((ratio - budget.fraction) ** 2, 12);
    const h = 1e-4;
    dExpected.forEach((found, g) => {
      const at = (by: number) =>
        resourceLoss(
          budget,
          masks.map((mask, i) => (i === g ? { ...mask, expected: mask.expected + by } : mask)),
          'soft',
        ).value;
      expect(found).toBeCloseTo((at(h) - at(-h)) / (2 * h), 8);
    });
  });

  test.each(seeds(6))('hard rule: value at the kept counts, the gradient of R there (seed %i)', seed => {
    const random = stream(seed, 'resource test');
    const { budget, groups } = caseOf('wide', 0.2 + 0.6 * random.uniform(), 1, resource);
    const masks = groups.map(group => masksOf(group, normals(random, group.counts.length, 3), 'ceil'));
    const counts = masks.map(mask => mask.count);
    const { value, ratio, dExpected } = resourceLoss(budget, masks, 'hard');
    expect(ratio).toBe(share(budget, counts));
    expect(value).toBeCloseTo((ratio - budget.fraction) ** 2, 12);
    const h = 1e-4;
    dExpected.forEach((found, g) => {
      const at = (by: number) => (share(budget, counts.with(g, counts[g] + by)) - budget.fraction) ** 2;
      expect(found).toBeCloseTo((at(h) - at(-h)) / (2 * h), 8);
    });
  });
});

test('R is two-sided: it pushes counts up below the budget and down above it, and rests on it', () => {
  const { budget, groups } = caseOf('wide', 0.5);
  const sign = (k: number) => {
    const masks = groups.map(group =>
      masksOf(
        group,
        Float64Array.from(group.counts, (_, i) => (i === k ? 50 : 0)),
        'ceil',
      ),
    );
    return Math.sign(resourceLoss(budget, masks, 'soft').dExpected[0]);
  };
  expect(sign(2)).toBe(-1);
  expect(sign(15)).toBe(1);
  const exact = {
    ...budget,
    fraction: share(
      budget,
      groups.map(group => group.size / 2),
    ),
  };
  const half = groups.map(group =>
    masksOf(
      group,
      Float64Array.from(group.counts, n => (2 * n === group.size ? 0 : -800)),
      'ceil',
    ),
  );
  expect(resourceLoss(exact, half, 'soft')).toMatchObject({ value: 0, dExpected: groups.map(() => 0) });
});

describe('snap', () => {
  const rules: CountRule[] = ['ceil', 'mean'];
  const settings = [
    { network: 'wide', granularity: 1 },
    { network: 'wide', granularity: 2 },
    { network: 'narrow', granularity: 1 },
    { network: 'wide', granularity: 3 },
    { network: 'narrow', granularity: 2 },
    { network: 'narrow', granularity: 4 },
  ].flatMap(setting =>
    rules.map(rule => ({ ...setting, rule, close: setting.granularity < (setting.network === 'wide' ? 3 : 2) })),
  );

  test.each(settings)('$network, steps of $granularity, $rule: from below, within half a point: $close', setting => {
    const { network, granularity, rule, close } = setting;
    const whole = caseOf(network, 1, granularity);
    const lowest = share(
      whole.budget,
      whole.groups.map(group => group.counts[0]),
    );
    for (const seed of seeds(12)) {
      const random = stream(seed, 'snap', network, granularity, rule);
      const drawn = caseOf(network, lowest + (0.95 - lowest) * random.uniform(), granularity);
      const { budget, groups } = drawn;
      const { counts } = snap(budget, groups, peaked(drawn, random), rule);
      const reached = share(budget, counts);
      expect(reached, `seed ${seed}: over the budget`).toBeLessThanOrEqual(budget.fraction);
      if (close)
        expect(reached, `seed ${seed}: budget ${budget.fraction}`).toBeGreaterThanOrEqual(budget.fraction - 0.005);
      // Where the steps are coarser than that: none is left that fits.
      counts.forEach((count, g) => {
        const at = groups[g].counts.indexOf(count);
        expect(at, `seed ${seed}: group ${g} keeps ${count}`).toBeGreaterThanOrEqual(0);
        if (count === groups[g].size || reached >= budget.fraction - 0.005) return;
        expect(share(budget, counts.with(g, groups[g].counts[at + 1])), `seed ${seed}`).toBeGreaterThan(
          budget.fraction,
        );
      });
    }
  });

  test('u is tilted by the same amount per channel share in all groups, and counts only raised from there', () => {
    for (const seed of seeds(12)) {
      const random = stream(seed, 'tilt');
      const drawn = caseOf('wide', 0.15 + 0.7 * random.uniform());
      const { budget, groups } = drawn;
      const u = peaked(drawn, random);
      const landed = snap(budget, groups, u, 'ceil');
      const slope = (landed.u[0][0] - u[0][0]) / (groups[0].counts[0] / groups[0].size);
      landed.u.forEach((logits, g) => {
        logits.forEach((x, k) => {
          expect(x - u[g][k], `seed ${seed}`).toBeCloseTo((slope * groups[g].counts[k]) / groups[g].size, 8);
        });
      });
      // The counts of the tilt fit, and the next smaller tilt does not.
      const before = landed.u.map((logits, g) => masksOf(groups[g], logits, 'ceil').count);
      expect(share(budget, before)).toBeLessThanOrEqual(budget.fraction);
      const less = landed.u.map(
        (logits, g) =>
          masksOf(
            groups[g],
            logits.map((x, k) => x + (1e-6 * groups[g].counts[k]) / groups[g].size),
            'ceil',
          ).count,
      );
      expect(share(budget, less)).toBeGreaterThan(budget.fraction);
      landed.counts.forEach((count, g) => {
        expect(count, `seed ${seed}`).toBeGreaterThanOrEqual(before[g]);
      });
    }
  });

  test('a group that stands higher than another of its size stays there', () => {
    for (const seed of seeds(12)) {
      const random = stream(seed, 'order');
      const drawn = caseOf('wide', 0.15 + 0.7 * random.uniform());
      const { groups } = drawn;
      const [low, high] = [0, 1];
      expect(groups[low].size).toBe(groups[high].size);
      const u = peaked(drawn, random);
      const lift = 3 * random.uniform();
      u[high] = u[low].map((x, k) => x + (lift * groups[low].counts[k]) / groups[low].size);
      const landed = snap(drawn.budget, groups, u, 'ceil');
      const [a, b] = [low, high].map(g => masksOf(groups[g], landed.u[g], 'ceil'));
      expect(b.expected, `seed ${seed}`).toBeGreaterThanOrEqual(a.expected);
      expect(b.count, `seed ${seed}`).toBeGreaterThanOrEqual(a.count);
    }
  });

  test('the whole network and the smallest one', () => {
    for (const rule of rules) {
      const whole = caseOf('wide', 1);
      const u = peaked(whole, stream(1, 'extremes'));
      expect(snap(whole.budget, whole.groups, u, rule).counts).toEqual(whole.groups.map(group => group.size));
      const smallest = whole.groups.map(group => group.counts[0]);
      const least = caseOf('wide', share(whole.budget, smallest));
      expect(snap(least.budget, least.groups, u, rule).counts).toEqual(smallest);
    }
  });
});
