import type { MethodFactory } from '../train/method.ts';
import { countsByShare, fixedWidths } from './fixed-widths.ts';

/** Every group keeps the same share of its channels: the simplest network within the budget. */
export const uniform: MethodFactory = context =>
  fixedWidths(context, choice =>
    countsByShare(
      choice,
      choice.admissible.map(() => 1),
    ),
  );
