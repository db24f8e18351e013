import { isReal } from '../graph/constants.ts';
import type { Graph } from '../graph/graph.ts';
import type { AxisRef } from '../graph/operator.ts';
import { elementCount } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { bnScale } from './criteria/bn-scale.ts';
import type { Importance, ImportanceContext } from './criteria/criterion.ts';
import { fpgm } from './criteria/fpgm.ts';
import { l1 } from './criteria/l1.ts';
import { l2 } from './criteria/l2.ts';
import { lamp } from './criteria/lamp.ts';
import { constantsBehind, normScales, outWeights } from './criteria/members.ts';
import { inWeights, outgoing } from './criteria/outgoing.ts';
import { random } from './criteria/random.ts';
import type { Coupling, Group } from './groups.ts';

export type { Importance, ImportanceContext } from './criteria/criterion.ts';

/** Every criterion; one line adds one. */
export const importance = {
  l1,
  l2,
  'bn-scale': bnScale,
  fpgm,
  lamp,
  outgoing,
  random,
} satisfies Record<string, Importance>;
export type ImportanceName = keyof typeof importance;
export const importanceNames = Object.keys(importance) as [ImportanceName, ...ImportanceName[]];

/** What a criterion looks at, and whether its scores of two groups can be compared as they are. */
const sources: Readonly<
  Record<ImportanceName, { what: string; of: ((group: Group, coupling: Coupling) => readonly AxisRef[]) | null }>
> = {
  l1: { what: 'weight', of: outWeights },
  l2: { what: 'weight', of: outWeights },
  'bn-scale': { what: 'BatchNormalization', of: normScales },
  fpgm: { what: 'weight', of: outWeights },
  lamp: { what: 'weight', of: outWeights },
  outgoing: { what: 'weight that reads them', of: inWeights },
  random: { what: 'number', of: null },
};

/**
 * Scores of all channels that can be compared across groups: divided by their group's mean, as Torch-Pruning does; LAMP
 * is relative to the group already. Channels that no node sums over add to nothing: they have the lowest score there is.
 * @param wanted whether a group is to be scored; others get zeros
 * @throws UserError E_CRITERION for a group that has nothing to go by, or weights that are not finite
 */
export function comparableScores(
  name: ImportanceName,
  context: ImportanceContext,
  wanted: (group: number) => boolean = () => true,
): Float64Array[] {
  const { what, of } = sources[name];
  const isSummed = summedGroups(context.coupling);
  const lacking = context.coupling.groups.filter(
    (group, g) =>
      wanted(g) &&
      isSummed[g] &&
      of?.(group, context.coupling).length === 0 &&
      !(what === 'weight' && isUniform(group, context.coupling)),
  );
  if (lacking.length > 0) {
    const names = lacking.map(group => `'${group.name}'`);
    const keep = names.map(group => `--keep ${group}`).join(' ');
    throw new UserError(
      'E_CRITERION',
      `The channels of ${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more groups` : ''} cannot be ranked by ${name}: the ${names.length === 1 ? 'group has' : 'groups have'} no ${what}.`,
      {
        where: context.coupling.graph.model.path,
        fix: `Choose another --criterion, or keep ${names.length === 1 ? 'the group' : 'them'} whole: ${keep}`,
      },
    );
  }
  return context.coupling.groups.map((group, g) => {
    if (!wanted(g) || !isSummed[g]) return new Float64Array(group.size);
    if (of?.(group, context.coupling).length === 0) return new Float64Array(group.size).fill(1);
    const scores = importance[name](group, context);
    if (!scores.every(Number.isFinite)) {
      const why = `a ${what} of it holds values that are not finite`;
      throw new UserError('E_CRITERION', `The channels of '${group.name}' cannot be ranked by ${name}: ${why}.`, {
        where: context.coupling.graph.model.path,
        fix: `Choose another --criterion, or keep the group whole with --keep '${group.name}'.`,
      });
    }
    return name === 'lamp' ? scores : meanNormalised(scores);
  });
}

/** For every group whether some node sums over its channels. */
function summedGroups(coupling: Coupling): boolean[] {
  const isSummed = new Uint8Array(coupling.channels);
  for (const { node, input, axis } of coupling.sums) {
    const channels = coupling.channelsOf({ value: node.inputs[input], axis });
    channels?.forEach(channel => {
      if (channel >= 0) isSummed[channel] = 1;
    });
  }
  return coupling.groups.map(({ size }, g) =>
    isSummed.subarray(coupling.offsets[g], coupling.offsets[g] + size).includes(1),
  );
}

/** Whether all weights are made of single numbers, as the zoo's light files have them: no channel differs from another. */
function isUniform({ members }: Group, { graph }: Coupling): boolean {
  const weights = members.filter(member => member.weight === 'out').map(member => member.value);
  return [...constantsBehind(graph, weights)].every(value => {
    const tensor = graph.tensors.get(value);
    return graph.fixed.has(value) && !(tensor && isReal(tensor.dataType) && elementCount(tensor) > 1);
  });
}

function meanNormalised(scores: Float64Array): Float64Array {
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  return mean > 0 ? scores.map(score => score / mean) : scores;
}

/** Position of every channel when sorted by score, largest first; equal scores by channel number. */
export function ranksOf(scores: Float64Array): Int32Array {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);
  const ranks = new Int32Array(scores.length);
  order.forEach((channel, rank) => {
    ranks[channel] = rank;
  });
  return ranks;
}

/** Number of weights whose output channels a group has: its member convolutions and linear layers. */
export const memberWeights = (group: Group, graph: Graph): number =>
  group.members.filter(member => member.weight === 'out' && graph.fixed.has(member.value)).length;
