import type { Graph } from '../graph/graph.ts';
import { stream } from '../util/random.ts';
import type { Coupling, Group } from './groups.ts';

/** One score per channel of a group; larger is kept longer. */
export type Importance = (group: Group, context: ImportanceContext) => Float64Array;

export interface ImportanceContext {
  readonly coupling: Coupling;
  /** The current values of a constant of the file. */
  values(name: string): Float32Array;
  readonly seed: number;
}

/** Mean over the group's weights of the L1 norm of a channel's filter (docs/method.md, Masks; Li et al., ICLR 2017). */
const l1: Importance = (group, context) => {
  const scores = new Float64Array(group.size);
  const weights = group.members.filter(
    member => member.weight === 'out' && context.coupling.graph.tensors.has(member.value),
  );
  for (const { value, axis } of weights) {
    const sums = sumAlong(context.values(value), context.coupling.graph.tensors.get(value)!.dims, axis, Math.abs);
    addByChannel(scores, group, context.coupling, { value, axis }, sums);
  }
  return scores.map(score => score / Math.max(1, weights.length));
};

const random: Importance = (group, { seed }) => {
  const numbers = stream(seed, 'importance', group.name);
  return Float64Array.from({ length: group.size }, () => numbers.uniform());
};

/** Every criterion; one line adds one. */
export const importance = { l1, random } satisfies Record<string, Importance>;
export type ImportanceName = keyof typeof importance;

/** Sum of `f` of all elements with one index of an axis, for every index. */
function sumAlong(values: Float32Array, dims: readonly number[], axis: number, f: (x: number) => number): Float64Array {
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const sums = new Float64Array(dims[axis]);
  for (let at = 0, row = 0; at < values.length; row++) {
    let sum = 0;
    for (let i = 0; i < inner; i++) sum += f(values[at++]);
    sums[row % dims[axis]] += sum;
  }
  return sums;
}

function addByChannel(
  scores: Float64Array,
  group: Group,
  coupling: Coupling,
  ref: { value: string; axis: number },
  sums: Float64Array,
): void {
  const offset = coupling.offsets[coupling.groups.indexOf(group)];
  coupling.channelsOf(ref)?.forEach((channel, index) => {
    if (channel >= offset && channel < offset + group.size) scores[channel - offset] += sums[index];
  });
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
