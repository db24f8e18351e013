import { UserError } from '../util/errors.ts';
import { type Budget, budgetOf, closeEnough, fillBudget, raised } from './budget.ts';
import { type Cost, costOf, type Resource } from './cost.ts';
import type { Coupling } from './groups.ts';
import { ranksOf } from './importance.ts';
import type { KeptChannels } from './plan.ts';

/**
 * How a budget is spread over the groups. `global`: channels of all groups are ranked together and the lowest go;
 * `local`: every group keeps the same share.
 */
export const scopes = ['global', 'local'] as const;
export type Scope = (typeof scopes)[number];

/** The channel counts that every group may have, in ascending order; the last is its size. */
export type Admissible = readonly (readonly number[])[];

/** The share of the cost that is left when every group has its smallest count. */
export const lowestShare = (cost: Cost, admissible: Admissible): number =>
  cost.full > 0 ? cost.at(admissible.map(counts => counts[0])) / cost.full : 1;

/**
 * A budget that these counts can meet: up to 1 the fraction kept, above it an absolute number.
 * @throws UserError E_BUDGET_UNREACHABLE with the reachable range, and those of `budgetOf`
 */
export function budgetWithin(coupling: Coupling, resource: Resource, value: number, admissible: Admissible): Budget {
  const cost = costOf(coupling, resource);
  const lowest = lowestShare(cost, admissible);
  const fraction = value <= 1 ? value : value / cost.full;
  const isKnown = coupling.groups.length > 0 && (resource !== 'macs' || cost.unknown.length === 0);
  if (isKnown && fraction < lowest) {
    const range = `${lowest.toFixed(4)} to 1 of the ${resource} (${Math.ceil(lowest * cost.full)} to ${cost.full})`;
    throw new UserError(
      'E_BUDGET_UNREACHABLE',
      `The budget of ${value} cannot be met: this network can keep ${range}.`,
      {
        where: coupling.graph.model.path,
        fix: 'Choose a budget in that range, or let more go: a smaller --min-keep or --round, fewer groups in --keep.',
        usage: true,
      },
    );
  }
  return budgetOf(coupling, resource, value);
}

/**
 * Counts that meet a budget from below, within half a point of it or of the nearest step that can be reached.
 * @param scores of all channels, comparable across groups (`comparableScores`); only `global` reads them
 * @param budget one that the smallest counts meet
 */
export function allocate(
  scores: readonly Float64Array[],
  budget: Budget,
  admissible: Admissible,
  scope: Scope,
): number[] {
  const counts = scope === 'global' ? globalCounts(scores, budget, admissible) : localCounts(budget, admissible);
  return closer(raised(counts, admissible, budget), admissible, budget);
}

/**
 * Where the steps are so coarse that more than half a point of the budget is left: one group gives up as few steps as
 * possible for others that come within it. What even that does not reach is left to `fillBudget`.
 */
function closer(counts: number[], admissible: Admissible, budget: Budget): number[] {
  const { cost, fraction } = budget;
  const isClose = (reached: number) => (fraction - closeEnough) * cost.full <= reached;
  if (isClose(cost.at(counts))) return counts;
  const most = Math.max(...admissible.map((own, g) => own.indexOf(counts[g])));
  for (let steps = 1; steps <= most; steps++) {
    const candidates = admissible.flatMap((own, g) => {
      const lower = own[own.indexOf(counts[g]) - steps];
      return lower === undefined ? [] : [raised(counts.with(g, lower), admissible, budget, g)];
    });
    const best = candidates.reduce((a, b) => (cost.at(b) > cost.at(a) ? b : a), counts);
    if (isClose(cost.at(best))) return best;
  }
  return fillBudget(counts, admissible, budget);
}

/** The best channels of every group: as many as `counts` says, in ascending order. */
export const bestChannels = (scores: readonly Float64Array[], counts: readonly number[]): KeptChannels =>
  scores.map((own, g) => {
    const ranks = ranksOf(own);
    return Array.from(ranks.keys()).filter(channel => ranks[channel] < counts[g]);
  });

const fits = ({ cost, fraction }: Budget, counts: readonly number[]): boolean =>
  cost.at(counts) <= fraction * cost.full * (1 + 1e-12);

/** The smallest admissible count that is no less. */
const roundedUp = (counts: readonly number[], least: number): number => counts.find(count => count >= least)!;

/** Remove the lowest scores of all groups until the budget is met, then put back the best ones that still fit. */
function globalCounts(scores: readonly Float64Array[], budget: Budget, admissible: Admissible): number[] {
  const removable = scores.flatMap((own, group) => {
    const lowestFirst = Float64Array.from(own).sort();
    const floor = admissible[group][0];
    return Array.from(lowestFirst.subarray(0, own.length - floor), score => ({ group, score }));
  });
  // The sort is stable: equal scores go by group.
  removable.sort((a, b) => a.score - b.score);
  const countsAfter = (removed: number): number[] => {
    const left = scores.map(own => own.length);
    for (let i = 0; i < removed; i++) left[removable[i].group]--;
    return left.map((least, group) => roundedUp(admissible[group], least));
  };
  let [low, high] = [0, removable.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fits(budget, countsAfter(middle))) high = middle;
    else low = middle + 1;
  }
  let counts = countsAfter(high);
  const full = new Set<number>();
  for (const { group } of removable.slice(0, high).reverse()) {
    if (full.has(group)) continue;
    const next = admissible[group].find(count => count > counts[group]);
    const raised = next === undefined ? null : counts.with(group, next);
    if (raised && fits(budget, raised)) counts = raised;
    else full.add(group);
  }
  return counts;
}

/** The largest share that all groups can keep alike. */
function localCounts(budget: Budget, admissible: Admissible): number[] {
  const countsAt = (share: number): number[] =>
    admissible.map(counts => roundedUp(counts, share * counts[counts.length - 1]));
  if (fits(budget, countsAt(1))) return countsAt(1);
  let [low, high] = [0, 1];
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (fits(budget, countsAt(middle))) low = middle;
    else high = middle;
  }
  return countsAt(low);
}
