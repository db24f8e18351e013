import { UserError } from '../util/errors.ts';
import { type Cost, costOf, lacksLengths, type Resource } from './cost.ts';
import type { Coupling } from './groups.ts';
import { wallsOf } from './walls.ts';

/** The channel counts that every group may have, in ascending order; the last is its size. */
export type Admissible = readonly (readonly number[])[];

/** What the pruned network may cost. */
export interface Budget {
  readonly resource: Resource;
  /** Fraction of the full cost that may be kept. */
  readonly fraction: number;
  readonly cost: Cost;
}

/**
 * Channel counts that a group may keep: multiples of `granularity`, and all of them (docs/method.md, Masks).
 * The smallest is `granularity`, so a group is never emptied.
 */
export function admissibleCounts(size: number, granularity: number): number[] {
  const counts: number[] = [];
  for (let count = granularity; count <= size - granularity; count += granularity) counts.push(count);
  return [...counts, size];
}

/** The same for all groups of a network. */
const admissibleSteps = ({ groups }: Coupling, granularity: number): Admissible =>
  groups.map(({ size }) => admissibleCounts(size, granularity));

/** The share of the cost that is left when every group has its smallest count. */
export const lowestShare = (cost: Cost, admissible: Admissible): number =>
  cost.full > 0 ? cost.at(admissible.map(counts => counts[0])) / cost.full : 1;

/** A budget as it is asked for: up to 1 the fraction kept, above it an absolute number. */
export interface AskedBudget {
  readonly resource: Resource;
  readonly value: number;
}

/** A budget for training, where counts are multiples of `granularity`. @throws UserError those of {@link budgetOf} */
export const budgetFor = (coupling: Coupling, asked: AskedBudget, granularity = 1): Budget =>
  budgetOf(coupling, asked, admissibleSteps(coupling, granularity), 'Choose a budget in that range.');

/**
 * A budget that these counts can meet. Nodes whose cost no rule knows, or that depends on the data, are left out: lengths
 * that a caller can give are asked for.
 * @param help what to do when it is out of reach
 * @throws UserError E_NOTHING_TO_PRUNE, E_COST_UNKNOWN, E_BUDGET_UNREACHABLE (usage) with the reachable range
 */
export function budgetOf(
  coupling: Coupling,
  { resource, value }: AskedBudget,
  admissible: Admissible,
  help: string,
): Budget {
  const where = coupling.graph.model.path;
  if (coupling.groups.length === 0) {
    throw new UserError('E_NOTHING_TO_PRUNE', 'No channels of this network can be pruned.', {
      where,
      fix: whyNothing(coupling),
    });
  }
  const cost = costOf(coupling, resource);
  if (cost.unknown.length > 0 && (cost.full === 0 || lacksLengths(coupling.graph, cost))) {
    throw new UserError(
      'E_COST_UNKNOWN',
      `The MACs of ${cost.unknown.length} nodes are not known (${cost.unknown.slice(0, 3).join(', ')}).`,
      { where, fix: 'Give the lengths of dynamic axes, or set a budget on --params or --bytes instead.' },
    );
  }
  const fraction = value <= 1 ? value : value / cost.full;
  const lowest = lowestShare(cost, admissible);
  if (!(fraction >= lowest && fraction <= 1)) {
    const range = `${lowest.toFixed(4)} to 1 of the ${resource} (${Math.ceil(lowest * cost.full)} to ${cost.full})`;
    throw new UserError(
      'E_BUDGET_UNREACHABLE',
      `The budget of ${value} cannot be met: this network can keep ${range}.`,
      { where, fix: help, usage: true },
    );
  }
  return { resource, fraction, cost };
}

/** The first walls, and what would unlock them. */
function whyNothing(coupling: Coupling): string {
  const walls = wallsOf(coupling).slice(0, 3);
  const reasons = walls.map(({ reason, groups }) => `${groups[0]?.name ?? 'the graph'}: ${reason}.`);
  return [...reasons, ...new Set(walls.flatMap(({ unlock }) => unlock ?? []))].join(' ');
}

/** How far below the budget counts may end without a search for closer ones, as a share of the full cost. */
export const closeEnough = 0.005;

/** Whether counts cost no more than the budget allows. */
export const fits = ({ cost, fraction }: Budget, counts: readonly number[]): boolean =>
  cost.at(counts) <= limitOf({ cost, fraction });

/** The most that counts may cost; the rounding of a fraction that was worked out from a number is not held against them. */
export const limitOf = ({ cost, fraction }: Pick<Budget, 'cost' | 'fraction'>): number =>
  fraction * cost.full * (1 + 1e-12);

/**
 * Raise counts one step at a time, always by the step that costs most and still fits, until none fits
 * (docs/method.md, Budget): the budget is met from below. Where the steps are so coarse that more than half a point is
 * left, groups give up steps, as few as possible, for others that come closer.
 * @param counts a point within the budget
 */
export function fillBudget(counts: readonly number[], admissible: Admissible, budget: Budget): number[] {
  const { cost, fraction } = budget;
  const isClose = (reached: number) => (fraction - closeEnough) * cost.full <= reached;
  let result = raised(counts, admissible, budget);
  if (isClose(cost.at(result))) return result;
  const largest = Math.max(...admissible.map((own, g) => own.indexOf(result[g])));
  for (let steps = 1; steps <= largest; steps++) {
    const { counts: best, reached } = exchanged(result, admissible, budget, at => [at - steps]);
    if (isClose(reached)) return best;
  }
  // Not even one group's steps come within half a point: exchange by exchange, as long as they come closer.
  for (let reached = cost.at(result); ; ) {
    const next = exchanged(result, admissible, budget, at => Array.from({ length: at }, (_, i) => i));
    if (next.reached <= reached) return result;
    [result, reached] = [next.counts, next.reached];
    if (isClose(reached)) return result;
  }
}

/** The costliest counts within the budget that follow from lowering one group and raising others. */
function exchanged(
  counts: number[],
  admissible: Admissible,
  budget: Budget,
  lowered: (at: number) => readonly number[],
): { counts: number[]; reached: number } {
  let best = { counts, reached: budget.cost.at(counts) };
  for (const [group, own] of admissible.entries()) {
    for (const at of lowered(own.indexOf(counts[group]))) {
      if (at < 0) continue;
      const other = raised(counts.with(group, own[at]), admissible, budget, group);
      const reached = budget.cost.at(other);
      if (reached > best.reached) best = { counts: other, reached };
    }
  }
  return best;
}

/**
 * Counts raised one step at a time, always by the step that costs most and still fits.
 * @param except a group that stays as it is
 */
function raised(counts: readonly number[], admissible: Admissible, budget: Budget, except = -1): number[] {
  const result = [...counts];
  const limit = limitOf(budget);
  const places = admissible.map((own, g) => own.indexOf(counts[g]));
  let reached = budget.cost.at(result);
  for (;;) {
    let best = -1;
    let bestStep = -1;
    for (let group = 0; group < result.length; group++) {
      const next = group === except ? undefined : admissible[group][places[group] + 1];
      if (next === undefined) continue;
      const step = budget.cost.change(result, group, next);
      if (reached + step <= limit && step > bestStep) {
        best = group;
        bestStep = step;
      }
    }
    if (best < 0) return result;
    result[best] = admissible[best][++places[best]];
    reached += bestStep;
  }
}
