import { type Admissible, type Budget, fits } from '../prune/budget.ts';
import type { Coupling } from '../prune/groups.ts';
import type { Method, MethodContext } from '../train/method.ts';
import { alone } from './alone.ts';

/** What widths are chosen from. */
export interface Choice {
  readonly coupling: Coupling;
  readonly budget: Budget;
  /** The counts that every group may have. */
  readonly admissible: Admissible;
  /** Current values of a weight. */
  values(name: string): Float32Array;
  readonly seed: number;
}

/**
 * A network cut before anything is trained, then trained alone as the finish of a search is: what a search has to beat.
 * Which channels stay is the order of the run (`--order`, L1 by default).
 * @param choose the number of channels of every group, within the budget
 */
export function fixedWidths(context: MethodContext, choose: (choice: Choice) => number[]): Method {
  const { network, settings } = context;
  const search = context.search!;
  const train = alone(context, 0);
  const { coupling } = network;
  const result = () => {
    if (!search.frozen) {
      const { values } = network;
      search.sort(values);
      const { budget, admissible } = search;
      search.fix(choose({ coupling, budget, admissible, values, seed: settings.seed }));
    }
    const { kept } = search.masks();
    network.setKept(kept);
    return kept;
  };
  return {
    phases: [{ name: 'finish', start: 0, alone: true }],
    views: () => ['hard'],
    step(x, target, step, learningRate) {
      result();
      return train(x, target, step, learningRate);
    },
    result,
  };
}

/**
 * Counts in the proportion of shares, as large as the budget allows; then one step more for groups where it fits, the
 * costliest first. Where steps are coarse a part of the budget is left: groups keep their shares.
 */
export function countsByShare({ budget, admissible }: Choice, shares: readonly number[]): number[] {
  const countsAt = (scale: number) =>
    admissible.map((counts, g) => counts.findLast(n => n <= scale * shares[g] * counts.at(-1)!) ?? counts[0]);
  let [low, high] = [0, 1 / Math.min(...shares)];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (fits(budget, countsAt(middle))) low = middle;
    else high = middle;
  }
  let counts = countsAt(low);
  const { cost } = budget;
  const raisedBy = (group: number) => {
    const next = admissible[group].find(n => n > counts[group]);
    return next === undefined ? counts : counts.with(group, next);
  };
  const costliestFirst = [...counts.keys()].sort((a, b) => cost.at(raisedBy(b)) - cost.at(raisedBy(a)));
  for (const group of costliestFirst) if (fits(budget, raisedBy(group))) counts = raisedBy(group);
  return counts;
}
