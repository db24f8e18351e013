import { type Graph, type GraphNode, rolesOf } from '../graph/graph.ts';
import { type AxisRef, type Grouped, type Relations, UnknownShape } from '../graph/operator.ts';
import { isInteger } from '../onnx/index.ts';
import { partition, type WeightAxes } from './partition.ts';
import { applyPattern } from './pattern.ts';
import { relationsOf, wallRange } from './relations.ts';
import { Slices } from './slices.ts';

export { rolesOf } from '../graph/graph.ts';

/** An axis that a group's channels lie on. */
export interface Member extends AxisRef {
  /** How many of the axis's indices belong to each channel. */
  readonly multiplicity: number;
  /** `out` and `in` axes of weights; null: anything else. */
  readonly weight: 'out' | 'in' | null;
}

/**
 * Coupled channels: a channel is a class of slices that are removed or kept together; channels that lie on the same
 * axes form a group. In `conv1 -> bn -> relu -> conv2`, channel 3 of the group `conv1.weight` is row 3 of conv1.weight,
 * element 3 of the four vectors of bn, and column 3 of conv2.weight.
 */
export interface Group {
  /** The weight whose output channels they are (the first in topological order). */
  readonly name: string;
  /** Number of channels. */
  readonly size: number;
  readonly root: AxisRef;
  readonly members: readonly Member[];
}

/** Channels that keep their number, and why. */
export interface WalledGroup extends Group {
  readonly reason: string;
}

/** A place where a node sums over channels. */
export interface Sum {
  readonly node: GraphNode;
  readonly input: number;
  readonly axis: number;
}

export interface Coupling {
  readonly graph: Graph;
  /** Groups that can be pruned. */
  readonly groups: readonly Group[];
  /** Channels of weights that can not. */
  readonly walled: readonly WalledGroup[];
  /** Number of channels of all prunable groups; group g's channels start at `offsets[g]`. */
  readonly channels: number;
  readonly offsets: readonly number[];
  readonly sums: readonly Sum[];
  /** For every index of an axis its channel (numbered over all groups), -1 where it stays; null: nothing on it can go. */
  channelsOf(ref: AxisRef): Int32Array | null;
}

export interface CouplingOptions {
  /** Channels that convolutions of several groups lose; default `equal`. Depthwise ones always lose whole groups. */
  readonly grouped?: Grouped;
}

/** Find the coupled channels of a graph (docs/architecture.md). Near-linear in the number of slices. */
export function coupleGraph(graph: Graph, { grouped = 'equal' }: CouplingOptions = {}): Coupling {
  const slices = new Slices(({ value, axis }) => {
    const dim = graph.types.get(value)?.shape?.[axis];
    return typeof dim === 'number' ? dim : null;
  });
  const sums: Sum[] = [];
  const wallValue = (value: string, reason: string) => {
    for (const axis of (graph.types.get(value)?.shape ?? []).keys()) {
      const range = slices.range({ value, axis });
      if (range) wallRange(slices, range, reason);
    }
  };
  for (const value of graph.inputs) wallValue(value, `graph input '${value}'`);
  for (const value of graph.outputs) wallValue(value, `graph output '${value}'`);
  for (const { name } of graph.model.graph.initializers) {
    if (!graph.tensors.has(name)) wallValue(name, `graph input '${name}', which a caller may replace`);
  }
  for (const late of [false, true]) {
    for (const node of graph.nodes) {
      if ((node.operator?.late ?? false) !== late) continue;
      const relations = relationsOf(slices, node, grouped, (input, axis) => sums.push({ node, input, axis }));
      coupleNode(graph, node, relations, wallValue);
    }
  }
  return { graph, sums, ...partition(slices, weightAxes(graph)) };
}

function coupleNode(
  graph: Graph,
  node: GraphNode,
  relations: Relations,
  wallValue: (value: string, reason: string) => void,
): void {
  for (const value of node.captures) wallValue(value, `${node.opType} '${node.name}' reads it in a sub-graph`);
  if (node.outputs.every(value => !value || isSettled(graph, value)) || isTensorConstant(graph, node)) return;
  const wallNode = (reason: string) => {
    for (const value of [...node.inputs, ...node.outputs]) if (value) wallValue(value, reason);
  };
  const couple = node.operator?.couple;
  if (!couple) {
    wallNode(`no rule for ${node.domain ? `${node.domain}::` : ''}${node.opType} ('${node.name}')`);
    return;
  }
  try {
    const pattern = couple(node, relations);
    if (pattern) applyPattern(pattern, node, relations);
  } catch (error) {
    if (!(error instanceof UnknownShape)) throw error;
    wallNode(`the shapes around ${node.opType} '${node.name}' are not known`);
  }
}

/** Integers that are known before anything runs: shapes and indices, which have no channels. */
const isSettled = (graph: Graph, value: string): boolean => {
  const constant = graph.constants.get(value);
  return constant !== undefined && isInteger(constant.elemType);
};

const isTensorConstant = (graph: Graph, node: GraphNode): boolean =>
  node.opType === 'Constant' && node.outputs.every(value => graph.tensors.has(value) || graph.constants.has(value));

/** Output and input axes of the weights that operators name in their roles. */
function weightAxes(graph: Graph): WeightAxes {
  const initializers = new Set(graph.model.graph.initializers.map(({ name }) => name));
  const axes = new Map<string, 'out' | 'in'>();
  const uses = new Map<string, number>();
  for (const node of graph.nodes) {
    for (const value of node.inputs) if (!uses.has(value)) uses.set(value, node.index);
    for (const [input, role] of Object.entries(rolesOf(node))) {
      const value = node.inputs[Number(input)];
      if (role.kind !== 'weight' || !(graph.fixed.has(value) || initializers.has(value))) continue;
      axes.set(`${value}\n${role.out}`, 'out');
      if (!axes.has(`${value}\n${role.in}`)) axes.set(`${value}\n${role.in}`, 'in');
    }
  }
  return {
    kindOf: ({ value, axis }) => axes.get(`${value}\n${axis}`) ?? null,
    firstUse: value => uses.get(value) ?? 0,
  };
}
