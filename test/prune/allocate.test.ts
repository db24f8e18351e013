import { describe, expect, test } from 'vitest';
import { allocate, bestChannels, budgetWithin, rankingsOf, type Scope } from '../../src/prune/allocate.ts';
import { type Admissible, type Budget, closeEnough, fillBudget, limitOf, lowestShare } from '../../src/prune/budget.ts';
import { type Cost, costOf, type Resource } from '../../src/prune/cost.ts';
import type { Coupling } from '../../src/prune/groups.ts';
import { admissibleWidths, matchesGlob, type Rules } from '../../src/prune/rules.ts';
import { stream } from '../../src/util/random.ts';
import { codeOf } from '../onnx/support.ts';
import { couplingOf, head, netOf } from './nets.ts';

const free: Rules = { keep: [], only: [], round: 1, minKeep: 0 };

/** Three convolutions and a head: groups a (20), b (30), c (48). */
const coupling = couplingOf(
  netOf((g, x) => {
    const a = g.op('Relu', [g.conv(x, 3, 20, { name: 'a' })], {}, 'relu');
    return head(g, g.conv(g.conv(a, 20, 30, { name: 'b' }), 30, 48, { name: 'c' }), 48);
  }),
);
const sizes = coupling.groups.map(group => group.size);

const randomScores = ({ groups }: Coupling, seed: number) =>
  groups.map(({ name, size }) => {
    const random = stream(seed, 'scores', name);
    return Float64Array.from({ length: size }, () => random.uniform());
  });

/** What a budget leaves under rules. */
function widths(
  rules: Partial<Rules>,
  value: number,
  { scope = 'global', seed = 0, resource = 'macs' }: { scope?: Scope; seed?: number; resource?: Resource } = {},
): { counts: number[]; reached: number; admissible: Admissible; scores: Float64Array[] } {
  const admissible = admissibleWidths(coupling, { ...free, ...rules });
  const budget = budgetWithin(coupling, { resource, value }, admissible);
  const scores = randomScores(coupling, seed);
  const counts = allocate(scores, budget, admissible, rankingsOf(coupling, scope));
  return { counts, reached: budget.cost.at(counts) / budget.cost.full, admissible, scores };
}

describe('admissible widths', () => {
  test('are multiples above the floor, and the size itself', () => {
    expect(admissibleWidths(coupling, free).map(counts => counts.length)).toEqual(sizes);
    expect(admissibleWidths(coupling, { ...free, round: 8 })).toEqual([
      [8, 16, 20],
      [8, 16, 24, 30],
      [8, 16, 24, 32, 40, 48],
    ]);
    expect(admissibleWidths(coupling, { ...free, round: 8, minKeep: 0.5 })).toEqual([
      [16, 20],
      [16, 24, 30],
      [24, 32, 40, 48],
    ]);
    expect(admissibleWidths(coupling, { ...free, round: 25, minKeep: 0.1 })).toEqual([[20], [25, 30], [25, 48]]);
    expect(admissibleWidths(coupling, { ...free, minKeep: 0.1 }).map(([floor]) => floor)).toEqual([2, 3, 5]);
  });

  test('count the rows of a channel: widths of grouped convolutions are rounded, not counts per group', () => {
    const grouped = couplingOf(
      netOf((g, x) => head(g, g.conv(g.conv(x, 3, 24, { name: 'a' }), 24, 24, { name: 'b', group: 4 }), 24)),
    );
    const rules = { ...free, round: 8 };
    // Of b's 24 output channels 4 go at once, so its widths are 8, 16 and 24.
    expect(grouped.groups.map(({ name, size }) => [name, size])).toEqual([
      ['a.weight', 6],
      ['b.weight', 6],
    ]);
    expect(admissibleWidths(grouped, rules)).toEqual([
      [2, 4, 6],
      [2, 4, 6],
    ]);
  });

  test('are the whole size for what has to stay, by group, weight, node, or value', () => {
    const whole = (rules: Partial<Rules>) =>
      admissibleWidths(coupling, { ...free, ...rules }).map(counts => counts.length === 1);
    for (const glob of ['a', 'a.weight', 'a.*', 'relu', 'r?lu', 'a.bias'])
      expect([glob, whole({ keep: [glob] })]).toEqual([glob, [true, false, false]]);
    // The head's own channels are the answer; those that it sums over are c's.
    expect(whole({ keep: ['head', 'head.weight'] })).toEqual([false, false, false]);
    expect(whole({ only: ['b.weight', 'c'] })).toEqual([true, false, false]);
    expect(whole({ only: ['*.weight'], keep: ['c'] })).toEqual([false, false, true]);
  });

  test('a glob that means nothing is refused with what was probably meant', () => {
    expect(codeOf(() => admissibleWidths(coupling, { ...free, keep: ['b.wieght'] }))).toBe('E_GLOB');
    expect(() => admissibleWidths(coupling, { ...free, keep: ['b.wieght'] })).toThrow(/Did you mean 'b\.weight'/);
    expect(() => admissibleWidths(coupling, { ...free, only: ['x*'] })).toThrow(/^--only x\*: no group/);
  });
});

test('globs agree with regular expressions', () => {
  const random = stream(5, 'globs');
  const text = (letters: string, length: number) =>
    Array.from({ length }, () => letters[random.int(letters.length)]).join('');
  for (let i = 0; i < 5000; i++) {
    const [glob, name] = [text('ab/.*?', random.int(7)), text('ab/.', random.int(7))];
    const pattern = glob.replace(/[.]/g, '\\.').replaceAll('*', '.*').replaceAll('?', '.');
    expect([glob, name, matchesGlob(glob, name)]).toEqual([glob, name, new RegExp(`^${pattern}$`).test(name)]);
  }
});

describe('a budget', () => {
  test('is met from below within half a point, or no step up fits', () => {
    for (const scope of ['global', 'local', 'isomorphic'] as const) {
      for (const rules of [
        {},
        { minKeep: 0.3 },
        { round: 8 },
        { keep: ['a'] },
        { round: 8, minKeep: 0.2, only: ['c', 'b'] },
      ]) {
        for (const resource of ['macs', 'params', 'size'] as const) {
          const admissible = admissibleWidths(coupling, { ...free, ...rules });
          const cost = costOf(coupling, resource);
          const lowest = lowestShare(cost, admissible);
          for (const share of [0, 0.1, 0.37, 0.5, 0.9, 1]) {
            const value = Math.min(1, lowest + share * (1 - lowest) + 1e-9);
            const { counts, reached } = widths(rules, value, { scope, resource, seed: share * 10 });
            const told = JSON.stringify({ scope, rules, resource, value, counts });
            expect(reached, told).toBeLessThanOrEqual(value * (1 + 1e-9));
            for (const [g, count] of counts.entries()) {
              expect(admissible[g], told).toContain(count);
              const next = admissible[g].find(n => n > count);
              if (value - reached > 0.005 && next !== undefined)
                expect(cost.at(counts.with(g, next)) / cost.full, told).toBeGreaterThan(value);
            }
          }
        }
      }
    }
  });

  test('above 1 is an absolute number', () => {
    const { full } = costOf(coupling, 'params');
    const { counts } = widths({}, Math.floor(full / 2), { resource: 'params' });
    expect(counts).toEqual(widths({}, Math.floor(full / 2) / full, { resource: 'params' }).counts);
  });

  test('out of reach is refused with the range', () => {
    expect(codeOf(() => widths({ minKeep: 0.5 }, 0.1))).toBe('E_BUDGET_UNREACHABLE');
    const lowest = lowestShare(costOf(coupling, 'macs'), admissibleWidths(coupling, { ...free, minKeep: 0.5 }));
    expect(() => widths({ minKeep: 0.5 }, 0.1)).toThrow(`can keep ${lowest.toFixed(4)} to 1 of the macs`);
    expect(codeOf(() => widths({ keep: ['*'] }, 0.9))).toBe('E_BUDGET_UNREACHABLE');
  });
});

describe('with fine steps', () => {
  /** Groups of 200, 300 and 480 channels. */
  const wide = couplingOf(
    netOf((g, x) => {
      const b = g.conv(g.conv(x, 3, 200, { name: 'a', kernel: 1 }), 200, 300, { name: 'b', kernel: 1 });
      return head(g, g.conv(b, 300, 480, { name: 'c', kernel: 1 }), 480);
    }),
  );
  const all = wide.groups.map(group => group.size);
  const admissible = admissibleWidths(wide, free);
  const budget = budgetWithin(wide, { resource: 'macs', value: 0.5 }, admissible);
  const { cost } = budget;

  test('global: the channels that go have the lowest scores of all', () => {
    for (const seed of [0, 1, 2, 3]) {
      const scores = randomScores(wide, seed);
      const counts = allocate(scores, budget, admissible, rankingsOf(wide, 'global'));
      // One by one, as the definition says; at the end others are put back where the last step was too long.
      const left = [...all];
      const order = scores
        .flatMap((own, group) => Array.from(own.toSorted().slice(0, -1), score => ({ group, score })))
        .sort((a, b) => a.score - b.score);
      for (const { group } of order) {
        if (cost.at(left) <= 0.5 * cost.full) break;
        left[group]--;
      }
      const difference = counts.map((count, g) => count - left[g]);
      expect([seed, Math.min(...difference) >= 0, Math.max(...difference) <= 1]).toEqual([seed, true, true]);
      expect(cost.at(counts) / cost.full).toBeGreaterThan(0.495);
    }
  });

  test('local: all groups keep the same share', () => {
    const counts = allocate(randomScores(wide, 0), budget, admissible, rankingsOf(wide, 'local'));
    const shares = counts.map((count, g) => count / all[g]);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(2 / 200);
    expect(cost.at(counts) / cost.full).toBeGreaterThan(0.495);
  });
});

describe('isomorphic', () => {
  /** Two blocks of 1x1 and depthwise 3x3 convolutions of 60 and 90 channels, a plain convolution of 40 between them. */
  const mixed = couplingOf(
    netOf((g, x) => {
      const block = (name: string, from: string, width: number, to: number, channels: number) => {
        const wide = g.op('Relu', [g.conv(from, channels, width, { name: `${name}.expand`, kernel: 1 })]);
        const deep = g.op('Relu', [g.conv(wide, width, width, { name: `${name}.depthwise`, group: width })]);
        return g.conv(deep, width, to, { name: `${name}.project`, kernel: 1 });
      };
      const a = block('a', x, 60, 40, 3);
      return head(g, block('b', a, 90, 50, 40), 50);
    }),
  );
  const names = mixed.groups.map(group => group.name);

  test('groups that are wired alike share a ranking, whatever their names and widths', () => {
    expect(names).toEqual(['a.expand.weight', 'a.project.weight', 'b.expand.weight', 'b.project.weight']);
    const rankings = rankingsOf(mixed, 'isomorphic');
    expect(rankings[0]).toBe(rankings[2]);
    // a.project feeds a convolution, b.project the head.
    expect(new Set(rankings).size).toBe(3);
  });

  test('of every ranking the same share goes, in it the lowest scores', () => {
    const admissible = admissibleWidths(mixed, free);
    const budget = budgetWithin(mixed, { resource: 'macs', value: 0.5 }, admissible);
    for (const seed of [0, 1, 2]) {
      // The second block's channels matter less: a global ranking would empty it first.
      const scores = randomScores(mixed, seed).map((own, g) => (g > 1 ? own.map(score => score / 3) : own));
      const counts = allocate(scores, budget, admissible, rankingsOf(mixed, 'isomorphic'));
      const gone = mixed.groups.map(({ size }, g) => size - counts[g]);
      const shares = [(gone[0] + gone[2]) / 150, gone[1] / 40, gone[3] / 50];
      expect([seed, Math.max(...shares) - Math.min(...shares) < 0.06]).toEqual([seed, true]);
      const lowest = (g: number, n: number) => [...scores[g]].sort((a, b) => a - b).slice(0, n);
      const removed = [...lowest(0, gone[0]), ...lowest(2, gone[2])];
      const kept = [0, 2].flatMap(g => [...scores[g]].sort((a, b) => a - b).slice(gone[g]));
      // Of both groups together, but for the step that lands on the budget.
      expect([seed, kept.filter(score => score < Math.max(...removed)).length <= 2]).toEqual([seed, true]);
      expect(budget.cost.at(counts) / budget.cost.full).toBeGreaterThan(0.495);
    }
  });
});

test('what a step changes is the difference of the costs', () => {
  const random = stream(11, 'steps');
  for (const resource of ['macs', 'params', 'size'] as const) {
    const cost = costOf(coupling, resource);
    for (let i = 0; i < 50; i++) {
      const counts = sizes.map(size => 1 + random.int(size));
      const group = random.int(sizes.length);
      const count = random.int(sizes[group] + 1);
      expect(cost.change(counts, group, count)).toBe(cost.at(counts.with(group, count)) - cost.at(counts));
    }
  }
});

test('coarse steps are met by small changes, not by giving a group up', () => {
  const { counts } = widths({}, 0.5, { scope: 'local' });
  const shares = counts.map((count, g) => count / sizes[g]);
  expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(0.25);
});

describe('exchanges', () => {
  /** A chain of layers whose weights count for what they are multiplied with. */
  const chainBudget = (sizes: readonly number[], weights: readonly number[], value: number): Budget => {
    const at = (counts: readonly number[]) =>
      weights.reduce((sum, weight, i) => sum + weight * (counts[i - 1] ?? 1) * (counts[i] ?? 1), 0);
    const change = (counts: readonly number[], group: number, count: number) =>
      at(counts.with(group, count)) - at(counts);
    const cost: Cost = { at, change, gradient: () => [], full: at(sizes), unknown: [] };
    const lowest = at(sizes.map(() => 1)) / cost.full;
    return { resource: 'macs', fraction: lowest + value * (1 - lowest), cost };
  };

  /** The definition: of all groups and numbers of steps to give up, fewest first where that comes close. */
  const byDefinition = (start: readonly number[], sizes: readonly number[], budget: Budget): number[] => {
    const { at, full } = budget.cost;
    const isClose = (counts: readonly number[]) => at(counts) >= (budget.fraction - closeEnough) * full;
    const raised = (counts: readonly number[], except = -1): readonly number[] => {
      const steps = sizes.flatMap((size, g) =>
        g !== except && counts[g] < size ? [counts.with(g, counts[g] + 1)] : [],
      );
      const fitting = steps.filter(next => at(next) <= limitOf(budget));
      if (fitting.length === 0) return counts;
      return raised(
        fitting.reduce((a, b) => (at(b) > at(a) ? b : a)),
        except,
      );
    };
    const best = (counts: readonly number[], lower: (count: number) => readonly number[]) =>
      counts
        .flatMap((count, g) =>
          lower(count)
            .filter(less => less >= 1)
            .map(less => raised(counts.with(g, less), g)),
        )
        .reduce((a, b) => (at(b) > at(a) ? b : a), counts);
    let counts = raised(start);
    for (let steps = 1; !isClose(counts) && steps < Math.max(...sizes); steps++) {
      const other = best(counts, count => [count - steps]);
      if (isClose(other)) return [...other];
    }
    while (!isClose(counts)) {
      const other = best(counts, count => Array.from({ length: count - 1 }, (_, i) => i + 1));
      if (at(other) <= at(counts)) break;
      counts = other;
    }
    return [...counts];
  };

  test('are those that come closest, whatever is left out on the way', () => {
    const random = stream(21, 'exchanges');
    let exchanges = 0;
    for (let round = 0; round < 200; round++) {
      const sizes = Array.from({ length: 2 + random.int(4) }, () => 2 + random.int(8));
      const weights = [...sizes, 1].map(() => Math.ceil(10 ** (4 * random.uniform())));
      const budget = chainBudget(sizes, weights, random.uniform());
      const start = sizes.map(() => 1);
      const admissible = sizes.map(size => Array.from({ length: size }, (_, i) => i + 1));
      const counts = fillBudget(start, admissible, budget);
      const told = JSON.stringify({ sizes, weights, fraction: budget.fraction });
      expect([told, counts]).toEqual([told, byDefinition(start, sizes, budget)]);
      if (budget.cost.at(counts) < (budget.fraction - closeEnough) * budget.cost.full) exchanges++;
    }
    expect(exchanges).toBeGreaterThan(20);
  });

  test('groups that free too little are not tried step by step', () => {
    // One coarse group, and a hundred of a thousand channels that together are a hundredth of it.
    const sizes = [4, ...Array<number>(100).fill(1000)];
    let asked = 0;
    const [coarse, fine] = [1e9, 1e2];
    const at = (counts: readonly number[]) =>
      counts.reduce((sum, count, g) => sum + count * (g === 0 ? coarse : fine), 0);
    const change = (counts: readonly number[], group: number, count: number) => {
      asked++;
      return (count - counts[group]) * (group === 0 ? coarse : fine);
    };
    const budget: Budget = {
      resource: 'macs',
      fraction: 0.6,
      cost: { at, change, gradient: () => [], full: at(sizes), unknown: [] },
    };
    const admissible = sizes.map(size => Array.from({ length: size }, (_, i) => i + 1));
    expect(fillBudget(sizes.with(0, 2), admissible, budget)).toEqual(sizes.with(0, 2));
    expect(asked).toBeLessThan(10_000);
  });
});

test('of every group the best channels stay, in order, equal ones by number', () => {
  expect(bestChannels([Float64Array.of(1, 5, 3, 4), Float64Array.of(2, 2, 2)], [2, 2])).toEqual([
    [1, 3],
    [0, 1],
  ]);
});

test('an emptied group is never the answer, however low its scores', () => {
  const admissible = admissibleWidths(coupling, free);
  const scores = randomScores(coupling, 0).map((own, g) => (g === 1 ? own.map(score => score * 1e-9) : own));
  const counts = allocate(
    scores,
    budgetWithin(coupling, { resource: 'macs', value: 0.03 }, admissible),
    admissible,
    rankingsOf(coupling, 'global'),
  );
  expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
});
