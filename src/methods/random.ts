import type { MethodFactory } from '../train/method.ts';
import { stream } from '../util/random.ts';
import { countsByShare, fixedWidths } from './fixed-widths.ts';

/** Every group keeps a share drawn at random, all scaled alike until the budget is met: an architecture by chance. */
export const random: MethodFactory = context =>
  fixedWidths(context, choice => {
    const { uniform } = stream(choice.seed, 'widths');
    return countsByShare(
      choice,
      choice.admissible.map(() => uniform()),
    );
  });
