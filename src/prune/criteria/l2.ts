import type { Importance } from './criterion.ts';
import { meanOver, outWeights, squareSums } from './members.ts';

/**
 * Mean over the group's weights of the L2 norm of a channel's filter.
 * He et al., Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks, IJCAI 2018.
 */
export const l2: Importance = (group, context) =>
  meanOver(outWeights(group, context.coupling), group, context, squareSums, Math.sqrt);
