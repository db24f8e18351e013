import type { Importance } from './criterion.ts';
import { meanOver, outWeights, squareSums } from './members.ts';

/**
 * The squared norm of a channel's filter (mean over the group's weights) as a share of those that are at least as large.
 * The largest channel of every group has 1, so groups can be compared as they are and none is emptied.
 * Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, equation 3, by channel.
 */
export const lamp: Importance = (group, context) => {
  const squares = meanOver(outWeights(group, context.coupling), group, context, squareSums);
  const largestFirst = Array.from(squares.keys()).sort((a, b) => squares[b] - squares[a] || a - b);
  const scores = new Float64Array(squares.length);
  let sum = 0;
  for (const channel of largestFirst) {
    sum += squares[channel];
    scores[channel] = sum === 0 ? 0 : squares[channel] / sum;
  }
  return scores;
};
