import { type Budget, fillBudget, fits } from '../prune/budget.ts';
import { type CountRule, type MaskGroup, type Masks, masksOf } from './mask.ts';

/** `soft`: the expected counts in value and gradient (paper); `hard`: the kept counts in value, straight-through (demo). */
export type ResourceRule = 'soft' | 'hard';

export interface ResourceLoss {
  /** R = (rho - tau)^2 */
  readonly value: number;
  /** rho: the cost at the counts that the rule looks at, as a share of the full cost. */
  readonly ratio: number;
  /** dR/dE of every group. */
  readonly dExpected: readonly number[];
}

/** The resource loss (docs/method.md, Budget): two-sided, quadratic in the distance of the cost from the budget. */
export function resourceLoss(budget: Budget, masks: readonly Masks[], rule: ResourceRule): ResourceLoss {
  const counts = masks.map(mask => (rule === 'hard' ? mask.count : mask.expected));
  const ratio = budget.cost.at(counts) / budget.cost.full;
  const distance = ratio - budget.fraction;
  const gradient = budget.cost.gradient(counts);
  return { value: distance ** 2, ratio, dExpected: gradient.map(d => (2 * distance * d) / budget.cost.full) };
}

/**
 * Land on the budget from below when u is frozen (docs/method.md, Budget): the smallest uniform tilt u -= lambda n / C that meets
 * it, then counts raised where they still fit.
 * @returns tilted u, and the counts to keep
 */
export function snap(
  budget: Budget,
  groups: readonly MaskGroup[],
  u: readonly Float64Array[],
  rule: CountRule,
  temperature = 1,
): { u: Float64Array[]; counts: number[] } {
  const tilted = (lambda: number) =>
    u.map((logits, g) => logits.map((x, k) => x - (lambda * groups[g].counts[k]) / groups[g].size));
  const countsAt = (lambda: number) =>
    tilted(lambda).map((logits, g) => masksOf(groups[g], logits, rule, temperature).count);
  let low = -400;
  let high = 400;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (fits(budget, countsAt(middle))) high = middle;
    else low = middle;
  }
  const start = countsAt(high);
  const smallest = groups.map(group => group.counts[0]);
  const counts = fillBudget(
    fits(budget, start) ? start : smallest,
    groups.map(group => group.counts),
    budget,
  );
  return { u: tilted(high), counts };
}
