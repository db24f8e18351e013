import type { Importance } from './criterion.ts';
import { absoluteSums, meanOver, normScales } from './members.ts';

/**
 * Mean over the group's batch normalisations of |gamma|, the scale of a channel.
 * Liu et al., Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017.
 */
export const bnScale: Importance = (group, context) =>
  meanOver(normScales(group, context.coupling), group, context, absoluteSums);
