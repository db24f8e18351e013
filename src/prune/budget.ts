import { UserError } from '../util/errors.ts';
import type { Cost, Resource } from './cost.ts';
import { costOf } from './cost.ts';
import type { Coupling, Group } from './groups.ts';

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

/** The share of the cost that is left at the smallest and the largest admissible counts. */
export function reachableRange(
  cost: Cost,
  groups: readonly Group[],
  granularity = 1,
): { lowest: number; highest: number } {
  const smallest = groups.map(group => admissibleCounts(group.size, granularity)[0]);
  return { lowest: cost.at(smallest) / cost.full, highest: 1 };
}

/**
 * A budget that can be met: up to 1 it is the fraction kept, above it an absolute number.
 * @throws UserError E_BUDGET_UNREACHABLE with the reachable range
 */
export function budgetOf(coupling: Coupling, resource: Resource, value: number, granularity = 1): Budget {
  const cost = costOf(coupling, resource);
  if (coupling.groups.length === 0) {
    throw new UserError('E_NOTHING_TO_PRUNE', 'No channels of this network can be pruned.', {
      where: coupling.graph.model.path,
      fix: coupling.walled
        .slice(0, 3)
        .map(group => `${group.name}: ${group.reason}.`)
        .join(' '),
    });
  }
  if (resource === 'macs' && cost.unknown.length) {
    throw new UserError(
      'E_COST_UNKNOWN',
      `The MACs of ${cost.unknown.length} nodes are not known (${cost.unknown.slice(0, 3).join(', ')}).`,
      {
        where: coupling.graph.model.path,
        fix: 'Give the lengths of dynamic axes, or set a budget on --params or --size instead.',
      },
    );
  }
  const fraction = value <= 1 ? value : value / cost.full;
  const { lowest } = reachableRange(cost, coupling.groups, granularity);
  if (!(fraction >= lowest && fraction <= 1)) {
    const range = `${lowest.toFixed(4)} to 1 of the ${resource} (${Math.ceil(lowest * cost.full)} to ${cost.full})`;
    throw new UserError(
      'E_BUDGET_UNREACHABLE',
      `The budget of ${value} cannot be met: this network can keep ${range}.`,
      {
        where: coupling.graph.model.path,
        fix: 'Choose a budget in that range.',
        usage: true,
      },
    );
  }
  return { resource, fraction, cost };
}

/** How far below the budget counts may end without a search for closer ones, as a share of the full cost. */
export const closeEnough = 0.005;

/**
 * Raise counts one step at a time, always by the step that costs most and still fits, until none fits
 * (docs/method.md, Budget): the budget is met from below. Where the steps are so coarse that more than half a point is left,
 * one group at a time gives up steps for others that come closer.
 * @param counts a point within the budget
 */
export function fillBudget(
  counts: readonly number[],
  admissible: readonly (readonly number[])[],
  budget: Budget,
): number[] {
  const { cost, fraction } = budget;
  let result = raised(counts, admissible, budget);
  for (;;) {
    const start = result;
    const reached = cost.at(start);
    if (fraction * cost.full - reached <= closeEnough * cost.full) return result;
    let best = reached;
    for (const [group, count] of start.entries()) {
      for (const lower of admissible[group].filter(n => n < count)) {
        const other = raised(start.with(group, lower), admissible, budget, group);
        if (cost.at(other) <= best) continue;
        best = cost.at(other);
        result = other;
      }
    }
    if (best === reached) return result;
  }
}

/**
 * Counts raised one step at a time, always by the step that costs most and still fits.
 * @param except a group that stays as it is
 */
export function raised(
  counts: readonly number[],
  admissible: readonly (readonly number[])[],
  budget: Budget,
  except = -1,
): number[] {
  const result = [...counts];
  const limit = budget.fraction * budget.cost.full * (1 + 1e-12);
  for (;;) {
    let best = -1;
    let bestCost = -1;
    for (let group = 0; group < result.length; group++) {
      const next = group === except ? undefined : admissible[group].find(count => count > result[group]);
      if (next === undefined) continue;
      const cost = budget.cost.at(result.with(group, next));
      if (cost <= limit && cost > bestCost) {
        best = group;
        bestCost = cost;
      }
    }
    if (best < 0) return result;
    result[best] = admissible[best].find(count => count > result[best])!;
  }
}
