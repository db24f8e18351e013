import { allocate, rankingsOf } from '../prune/allocate.ts';
import type { MethodFactory } from '../train/method.ts';
import { fixedWidths } from './fixed-widths.ts';

/** Every group keeps the same share of its channels: the simplest network within the budget. */
export const uniform: MethodFactory = context =>
  fixedWidths(context, ({ coupling, budget, admissible }) => {
    const scores = coupling.groups.map(group => new Float64Array(group.size));
    return allocate(scores, budget, admissible, rankingsOf(coupling, 'local'));
  });
