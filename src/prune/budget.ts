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
  budgetOf(
    coupling,
    asked,
    admissibleSteps(coupling, granularity),
    `Choose a budget in that range${granularity > 1 ? `, or a smaller step of widths than ${granularity} (--round)` : ''}.`,
  );

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
  const start = { counts, places: admissible.map((own, g) => own.indexOf(counts[g])) };
  let result = raised(start, admissible, budget, [...admissible.keys()]);
  if (isClose(cost.at(result.counts))) return [...result.counts];
  const fewest = fewestSteps(result, admissible, budget);
  for (let steps = 1; steps <= Math.max(...result.places); steps++) {
    const { point, reached } = exchanged(result, admissible, budget, (place, group) =>
      steps <= place && steps >= fewest[group] ? [place - steps] : [],
    );
    if (isClose(reached)) return [...point.counts];
  }
  // Not even one group's steps come within half a point: exchange by exchange, as long as they come closer.
  for (let reached = cost.at(result.counts); ; ) {
    const least = fewestSteps(result, admissible, budget);
    const next = exchanged(result, admissible, budget, (place, group) =>
      Array.from({ length: Math.max(0, place - least[group] + 1) }, (_, i) => i),
    );
    if (next.reached <= reached) return [...result.counts];
    [result, reached] = [next.point, next.reached];
    if (isClose(reached)) return [...result.counts];
  }
}

/** Counts, and the place of each among those that its group may have. */
interface Point {
  readonly counts: readonly number[];
  readonly places: readonly number[];
}

/** Groups that are not whole; with many fine ones and a few coarse ones, few. */
const raisable = ({ places }: Point, admissible: Admissible): number[] =>
  [...admissible.keys()].filter(group => places[group] + 1 < admissible[group].length);

/** Whether one of these groups can be raised by a step. */
function hasFittingStep(
  { counts, places }: Point,
  reached: number,
  admissible: Admissible,
  budget: Budget,
  groups: readonly number[],
): boolean {
  const limit = limitOf(budget);
  return groups.some(group => {
    const next = admissible[group][places[group] + 1];
    return next !== undefined && reached + budget.cost.change(counts, group, next) <= limit;
  });
}

/**
 * For every group how many steps it has to give up before another one can be raised; more than it has: that never comes.
 * Giving up more frees more and makes no other step dearer, so it is found by halving.
 */
function fewestSteps(point: Point, admissible: Admissible, budget: Budget): number[] {
  const { counts, places } = point;
  const reached = budget.cost.at(counts);
  const others = raisable(point, admissible);
  return places.map((place, group) => {
    const rest = others.filter(other => other !== group);
    let [low, high] = [1, place + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      const count = admissible[group][place - middle];
      const left = { counts: counts.with(group, count), places };
      const then = reached + budget.cost.change(counts, group, count);
      if (hasFittingStep(left, then, admissible, budget, rest)) high = middle;
      else low = middle + 1;
    }
    return low;
  });
}

/** The costliest counts within the budget that follow from lowering one group and raising others. */
function exchanged(
  point: Point,
  admissible: Admissible,
  budget: Budget,
  lowered: (place: number, group: number) => readonly number[],
): { point: Point; reached: number } {
  let best = { point, reached: budget.cost.at(point.counts) };
  const others = raisable(point, admissible);
  for (const [group, own] of admissible.entries()) {
    for (const place of lowered(point.places[group], group)) {
      const less = { counts: point.counts.with(group, own[place]), places: point.places.with(group, place) };
      const other = raised(
        less,
        admissible,
        budget,
        others.filter(one => one !== group),
      );
      const reached = budget.cost.at(other.counts);
      if (reached > best.reached) best = { point: other, reached };
    }
  }
  return best;
}

/**
 * Counts raised one step at a time, always by the step that costs most and still fits.
 * @param groups that may be raised
 */
function raised(point: Point, admissible: Admissible, budget: Budget, groups: readonly number[]): Point {
  const [counts, places] = [[...point.counts], [...point.places]];
  const limit = limitOf(budget);
  let reached = budget.cost.at(counts);
  for (;;) {
    let best = -1;
    let bestStep = -1;
    for (const group of groups) {
      const next = admissible[group][places[group] + 1];
      if (next === undefined) continue;
      const step = budget.cost.change(counts, group, next);
      if (reached + step <= limit && step > bestStep) {
        best = group;
        bestStep = step;
      }
    }
    if (best < 0) return { counts, places };
    counts[best] = admissible[best][++places[best]];
    reached += bestStep;
  }
}
