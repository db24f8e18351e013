import { stream } from '../../util/random.ts';
import type { Importance } from './criterion.ts';

/** Uniform numbers in [0, 1), fixed by the seed and the group's name: what every other criterion has to beat. */
export const random: Importance = (group, { seed }) => {
  const numbers = stream(seed, 'importance', group.name);
  return Float64Array.from({ length: group.size }, () => numbers.uniform());
};
