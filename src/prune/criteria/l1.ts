import type { Importance } from './criterion.ts';
import { absoluteSums, meanOver, outWeights } from './members.ts';

/**
 * Mean over the group's weights of the L1 norm of a channel's filter (docs/method.md, Masks).
 * Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017.
 */
export const l1: Importance = (group, context) =>
  meanOver(outWeights(group, context.coupling), group, context, absoluteSums);
