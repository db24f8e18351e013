import type { AxisRef } from '../../graph/operator.ts';
import type { Coupling, Group } from '../groups.ts';
import type { Importance } from './criterion.ts';
import { absoluteSums, meanOver } from './members.ts';

/** The weights that sum over a group's channels, as tensors of the file. */
export const inWeights = ({ members }: Group, { graph }: Coupling): readonly AxisRef[] =>
  members.filter(member => member.weight === 'in' && graph.tensors.has(member.value));

/**
 * Mean over the weights that read the group's channels of the L1 norm of a channel's columns. Where BatchNormalization
 * was folded into the convolutions, the norms of the filters in front of a channel say nothing any more; these do
 * (docs/method-notes.md).
 */
export const outgoing: Importance = (group, context) =>
  meanOver(inWeights(group, context.coupling), group, context, absoluteSums);
