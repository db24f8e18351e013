import type { MethodFactory, Routes } from '../train/method.ts';
import { dmp } from './dmp.ts';
import { plain } from './plain.ts';
import { s2h } from './s2h.ts';

/** Every method; one line adds one. */
export const methods = { s2h, dmp, plain } satisfies Record<string, MethodFactory>;
export type MethodName = keyof typeof methods;

const route = (
  weightsThroughHard: Routes['weightsThroughHard'],
  weightsThroughSoft: Routes['weightsThroughSoft'],
  masksThroughSoft: Routes['masksThroughSoft'],
  coefficient: number,
): Routes => ({ weightsThroughHard, weightsThroughSoft, masksThroughSoft, coefficient });

/** Named settings of the routes: the decoupling types of the authors' demo (docs/method.md, Routes); t1 is the paper's. */
export const routes = {
  t1: route('soft-hard', null, 'soft-hard', 1),
  t2: route('soft-hard', 'soft-hard', 'soft-hard', 0.5),
  t3: route('soft-hard', null, 'hard-soft', 1),
  t4: route('soft-hard', 'hard-soft', 'hard-soft', 0.5),
  t5: route('hard-soft', 'hard-soft', 'hard-soft', 0.5),
  t6: route('hard-soft', null, 'hard-soft', 1),
  'one-way': route('soft-hard', null, null, 1),
  bidirectional: route('soft-hard', 'soft-hard', 'soft-hard', 1),
} satisfies Record<string, Routes>;
export type RoutesName = keyof typeof routes;
