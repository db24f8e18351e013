import type { MethodFactory, Routes } from '../train/method.ts';
import { dmp } from './dmp.ts';
import { l1 } from './l1.ts';
import { plain } from './plain.ts';
import { random } from './random.ts';
import { s2h } from './s2h.ts';
import { uniform } from './uniform.ts';

/** Every method that prunes; one line adds one. */
export const pruningMethods = { s2h, dmp, l1, uniform, random } satisfies Record<string, MethodFactory>;
/** The same, and training without pruning. */
export const methods = { ...pruningMethods, plain };
export type MethodName = keyof typeof methods;

const route = (
  weightsThroughHard: Routes['weightsThroughHard'],
  weightsThroughSoft: Routes['weightsThroughSoft'],
  masksThroughSoft: Routes['masksThroughSoft'],
  coefficient: number,
): Routes => ({
  lossToWeights: true,
  lossToMasks: true,
  weightsThroughHard,
  weightsThroughSoft,
  masksThroughSoft,
  resourceToMasks: true,
  coefficient,
});

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

/** What `--routes` takes: a named setting, or the numbers of the routes that are open. */
export const routesPattern = /^(?:t[1-6]|one-way|bidirectional|[1-57](?:,[1-57])*)$/;

/**
 * Routes by a named setting, or by the numbers of those that are open (`1,2,3,5,7` is t1): G is then KL(soft || hard)
 * on all of them.
 */
export function routesOf(setting: string): Routes {
  if (setting in routes) return routes[setting as RoutesName];
  const open = setting.split(',').map(Number);
  const gap = (number: number) => (open.includes(number) ? 'soft-hard' : null);
  return {
    lossToWeights: open.includes(1),
    lossToMasks: open.includes(2),
    weightsThroughHard: gap(3),
    weightsThroughSoft: gap(4),
    masksThroughSoft: gap(5),
    resourceToMasks: open.includes(7),
    coefficient: 1,
  };
}
