import { isUnknown } from '../graph/check.ts';
import { type Graph, type GraphNode, rolesOf } from '../graph/graph.ts';
import { boundedDims } from '../graph/limits.ts';
import type { Attention, AxisRef, Grouped, Relations } from '../graph/operator.ts';
import { isInteger } from '../onnx/index.ts';
import { measuredAxes } from './length-walls.ts';
import { partition, type WeightAxes } from './partition.ts';
import { applyPattern } from './pattern.ts';
import { type Regrouped, settleRegrouped } from './regroup.ts';
import { relationsIn } from './relations.ts';
import { type Shuffle, shufflesOf } from './shuffles.ts';
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

/** Where every node sums. */
export function sumsByNode({ sums }: Pick<Coupling, 'sums'>): Map<GraphNode, Sum[]> {
  const byNode = new Map<GraphNode, Sum[]>();
  for (const sum of sums) {
    const own = byNode.get(sum.node);
    if (own) own.push(sum);
    else byNode.set(sum.node, [sum]);
  }
  return byNode;
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
  /** Nodes that together shuffle the indices of an axis, by each of them. */
  readonly shuffles: ReadonlyMap<GraphNode, Shuffle>;
  /** How the groups were found. */
  readonly options: Required<CouplingOptions>;
  /** For every index of an axis its channel (numbered over all groups), -1 where it stays; null: nothing on it can go. */
  channelsOf(ref: AxisRef): Int32Array | null;
}

export interface CouplingOptions {
  /** Channels that convolutions of several groups lose; default `equal`. Depthwise ones always lose whole groups. */
  readonly grouped?: Grouped;
  /** What attention loses: whole heads (the default), or the same dims of every head. */
  readonly attention?: Attention;
}

/** Find the coupled channels of a graph (docs/architecture.md). Near-linear in the number of slices. */
export function coupleGraph(graph: Graph, options: CouplingOptions = {}): Coupling {
  const choice = { grouped: options.grouped ?? 'equal', attention: options.attention ?? 'heads' } as const;
  const slices = new Slices({
    dimOf: boundedDims(graph),
    rankOf: value => graph.types.get(value)?.shape?.length ?? 0,
    isConstant: value => graph.tensors.has(value),
  });
  const sums: Sum[] = [];
  const regrouped: Regrouped[] = [];
  const wallAxis = (axis: AxisRef, reason: string) => {
    const range = slices.range(axis);
    if (range) slices.wallRange(range, reason);
  };
  const wallValue = (value: string, reason: string) => {
    for (const axis of (graph.types.get(value)?.shape ?? []).keys()) wallAxis({ value, axis }, reason);
  };
  for (const value of graph.inputs) wallValue(value, `graph input '${value}'`);
  for (const value of graph.outputs) wallValue(value, `graph output '${value}'`);
  for (const { name } of graph.model.graph.initializers) {
    if (!graph.tensors.has(name)) wallValue(name, `graph input '${name}', which a caller may replace`);
  }
  for (const { reason, ...axis } of measuredAxes(graph)) wallAxis(axis, reason);
  const shuffles = shufflesOf(graph);
  const relations = relationsIn(
    slices,
    choice,
    (node, input, axis) => sums.push({ node, input, axis }),
    block => regrouped.push(block),
  );
  /** Nodes that make known integers; lengths and indices have no channels, codes and masks may. */
  let settled: GraphNode[] = [];
  const states = (node: GraphNode): void => {
    const shuffle = shuffles.get(node);
    if (shuffle) {
      if (node.outputs[0] === shuffle.output) coupleShuffle(graph, shuffle, relations.of(node));
      return;
    }
    for (const value of node.captures) wallValue(value, `${node.opType} '${node.name}' reads it in a sub-graph`);
    if (isTensorConstant(graph, node)) return;
    if (node.outputs.every(value => !value || isSettled(graph, value))) settled.push(node);
    else coupleNode(graph, node, relations.of(node), wallValue);
  };
  /** From the last to the first, since each of them may touch what others make. */
  const statesTouched = (): void => {
    const isTouched = (value: string): boolean =>
      (graph.types.get(value)?.shape ?? []).some((_, axis) => slices.touched({ value, axis }) !== null);
    const left: GraphNode[] = [];
    for (const node of settled.toReversed()) {
      if (node.outputs.some(isTouched)) coupleNode(graph, node, relations.of(node), wallValue);
      else left.unshift(node);
    }
    settled = left;
  };
  for (const late of [false, true]) {
    for (const node of graph.nodes) if (Boolean(node.operator?.late) === late) states(node);
    statesTouched();
    settleRegrouped(slices, regrouped, choice.attention);
    regrouped.length = 0;
  }
  return { graph, sums, shuffles, options: choice, ...partition(slices, weightAxes(graph)) };
}

/** The nodes of a shuffle count as one that permutes an axis. */
function coupleShuffle(graph: Graph, { input, output, axis, from }: Shuffle, relations: Relations): void {
  for (const at of graph.types.get(input)!.shape!.keys()) {
    const [before, after] = [input, output].map(value => ({ value, axis: at }));
    if (at === axis) relations.map(after, before, index => from[index]);
    else relations.same(before, after);
  }
}

function coupleNode(
  graph: Graph,
  node: GraphNode,
  relations: Relations,
  wallValue: (value: string, reason: string) => void,
): void {
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
    for (const { input, out } of computedWeights(graph, node)) {
      const source = inputBehind(graph, node.inputs[input]);
      const reason = `${node.opType} '${node.name}' has a weight that is computed from input '${source}'`;
      relations.wall(node.axis(input, out), reason);
    }
  } catch (error) {
    if (!isUnknown(error)) throw error;
    wallNode(`the shapes around ${node.opType} '${node.name}' are not known`);
  }
}

/** Weights of a node that depend on an input of the graph, and their axis of output channels. */
const computedWeights = (graph: Graph, node: GraphNode): { input: number; out: number }[] =>
  Object.entries(rolesOf(node)).flatMap(([input, role]) => {
    const value = node.inputs[Number(input)];
    return role.kind === 'weight' && graph.producers.has(value) && !graph.fixed.has(value)
      ? [{ input: Number(input), out: role.out }]
      : [];
  });

/** An input of the graph that a value depends on. */
function inputBehind(graph: Graph, value: string): string {
  const waiting = [value];
  const seen = new Set(waiting);
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (graph.inputs.includes(at)) return at;
    for (const next of graph.producers.get(at)?.inputs ?? []) {
      if (!next || graph.fixed.has(next) || seen.has(next)) continue;
      seen.add(next);
      waiting.push(next);
    }
  }
  return value;
}

/** Integers that are known before anything runs. */
const isSettled = (graph: Graph, value: string): boolean => {
  const constant = graph.constants.get(value);
  return constant !== undefined && isInteger(constant.elemType);
};

const isTensorConstant = (graph: Graph, node: GraphNode): boolean =>
  node.opType === 'Constant' && node.outputs.every(value => graph.tensors.has(value) || graph.constants.has(value));

/** Output and input axes of the weights that operators name in their roles. */
function weightAxes(graph: Graph): WeightAxes {
  const axes = new Map<string, ('out' | 'in' | undefined)[]>();
  const uses = new Map<string, number>();
  const is = (value: string, axis: number, kind: 'out' | 'in'): void => {
    const known = axes.get(value);
    if (!known) axes.set(value, Object.assign([], { [axis]: kind }));
    else if (known[axis] !== 'out') known[axis] = kind;
  };
  for (const node of graph.nodes) {
    for (const value of node.inputs) if (!uses.has(value)) uses.set(value, node.index);
    for (const [input, role] of Object.entries(rolesOf(node))) {
      if (role.kind !== 'weight') continue;
      const value = node.inputs[Number(input)];
      is(value, role.out, 'out');
      is(value, role.in, 'in');
    }
  }
  return {
    kindOf: ({ value, axis }) => axes.get(value)?.[axis] ?? null,
    firstUse: value => uses.get(value) ?? 0,
  };
}
