import type { KeptChannels } from '../prune/plan.ts';
import { type MethodContext, searchPhases } from '../train/method.ts';

/**
 * The cut that a search ends with: landed on the budget, or, where masks moved up to the last step, as it was trained.
 * Masks that never moved have no order yet where the cut is the first thing that happens to them.
 * @returns the channels of the hard network, which has them from now on
 */
export function landed({ network, search, settings, steps }: MethodContext): KeptChannels {
  const [, searching, freezing] = searchPhases(settings, steps);
  if (!search!.frozen && searching.start >= freezing.start) search!.sort(network.values);
  if (freezing.start < steps) search!.freeze();
  else search!.stop();
  const { w, kept } = search!.masks();
  network.setMask(w);
  network.setKept(kept);
  return kept;
}
