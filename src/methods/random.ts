import { fillBudget, fits } from '../prune/budget.ts';
import type { MethodFactory } from '../train/method.ts';
import { stream } from '../util/random.ts';
import { fixedWidths } from './fixed-widths.ts';

/** Every group keeps a share drawn at random, all scaled alike until the budget is met: an architecture by chance. */
export const random: MethodFactory = context =>
  fixedWidths(context, ({ budget, admissible, seed }) => {
    const { uniform } = stream(seed, 'widths');
    const shares = admissible.map(() => uniform());
    const countsAt = (scale: number) =>
      admissible.map((counts, g) => counts.findLast(n => n <= scale * shares[g] * counts.at(-1)!) ?? counts[0]);
    let [low, high] = [0, 1 / Math.min(...shares)];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (fits(budget, countsAt(middle))) low = middle;
      else high = middle;
    }
    return fillBudget(countsAt(low), admissible, budget);
  });
