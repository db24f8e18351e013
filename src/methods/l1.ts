import { allocate, rankingsOf } from '../prune/allocate.ts';
import { comparableScores } from '../prune/importance.ts';
import type { MethodFactory } from '../train/method.ts';
import { fixedWidths } from './fixed-widths.ts';

/** The channels of all groups ranked together by L1 norm, each relative to its group's mean, and the lowest cut. */
export const l1: MethodFactory = context =>
  fixedWidths(context, ({ coupling, budget, admissible, values, seed }) =>
    allocate(comparableScores('l1', { coupling, values, seed }), budget, admissible, rankingsOf(coupling, 'global')),
  );
