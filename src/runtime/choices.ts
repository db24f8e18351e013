import { isReal } from '../graph/constants.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import { isInteger, type NodeProto } from '../onnx/index.ts';
import type { Coupling } from '../prune/groups.ts';
import { type KeptChannels, keptIndices } from '../prune/plan.ts';

/** What a rounding may change in a graph. */
export interface Choices {
  /** Nodes whose answer may change altogether with a rounding, or is drawn at random. */
  readonly nodes: ReadonlySet<GraphNode>;
  /** Values that are another rounding in the cut file, with the answers of `nodes` given. */
  readonly inexact: ReadonlySet<string>;
}

/** Operators that answer with a jump where a real number passes a threshold. */
const jumps = new Set(
  ['Floor', 'Ceil', 'Round', 'Sign', 'Mod'].concat('Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'Equal'),
);

const toCodes = new Set(['QuantizeLinear', 'DynamicQuantizeLinear']);

/** Operators that read lengths, which no rounding changes. */
const readLengths = new Set(['Shape', 'Size']);

/**
 * What a comparison is taken apart at, besides choices: `codes`, where quantised networks round to their codes; `even` and
 * `odd`, the nodes that sum, every other one by depth, so that each of them is compared by itself in one of the two.
 */
export type Apart = 'choices' | 'codes' | 'even' | 'odd';

/**
 * Nodes that choose by comparing values (the contract's `discrete` ones, sub-graphs with one of them, Dropout in training
 * mode), and those that round real numbers which a cut computes in another order: casts to integers, comparisons, Floor.
 * What no cut touches is the same to the last bit, so that arithmetic on lengths is no choice.
 */
export function choicesOf(coupling: Coupling, kept: KeptChannels, apart: Apart = 'choices'): Choices {
  const { graph } = coupling;
  const layers = apart === 'even' || apart === 'odd' ? everyOther(coupling, apart) : new Set<GraphNode>();
  const indices = keptIndices(coupling, kept);
  const isCut = (value: string) =>
    (graph.types.get(value)?.shape ?? []).some((_, axis) => indices({ value, axis }) !== null);
  const nodes = new Set<GraphNode>();
  const inexact = new Set<string>();
  for (const node of graph.nodes) {
    if (node.outputs.every(value => !value || graph.fixed.has(value))) continue;
    const standard = node.domain === '';
    const splits = layers.has(node) || chooses(node, graph) || rounds(node, graph, inexact, apart === 'codes');
    if (splits) nodes.add(node);
    else if (!(standard && readLengths.has(node.opType))) {
      const values = [...node.inputs, ...node.captures, ...node.outputs];
      if (!values.some(value => inexact.has(value) || isCut(value))) continue;
      for (const output of node.outputs) if (output) inexact.add(output);
    }
  }
  return { nodes, inexact };
}

/** Nodes that sum, with an even or an odd number of others on the longest way to them. */
function everyOther({ graph, sums }: Coupling, which: 'even' | 'odd'): Set<GraphNode> {
  const summing = new Set(sums.map(({ node }) => node));
  const depths = new Map<string, number>();
  const found = new Set<GraphNode>();
  for (const node of graph.nodes) {
    const before = Math.max(0, ...[...node.inputs, ...node.captures].map(value => depths.get(value) ?? 0));
    const isLayer = summing.has(node) && node.outputs.some(value => value && !graph.constants.has(value));
    for (const output of node.outputs) if (output) depths.set(output, before + (isLayer ? 1 : 0));
    if (isLayer && before % 2 === (which === 'even' ? 0 : 1)) found.add(node);
  }
  return found;
}

function chooses(node: GraphNode, graph: Graph): boolean {
  if (node.operator?.discrete || hasChoiceInside(node.proto, graph)) return true;
  if (node.opType !== 'Dropout' || node.domain !== '' || !node.has(2)) return false;
  // A mode or a ratio that is not known counts as one that drops something.
  return node.constant(2)?.values[0] !== 0 && !(node.has(1) && node.constant(1)?.values[0] === 0);
}

/** Whether a sub-graph of the node contains a discrete operator. */
function hasChoiceInside({ attribute }: NodeProto, graph: Graph): boolean {
  return attribute.some(({ g, graphs }) =>
    (g ? [g, ...graphs] : graphs).some(({ node }) =>
      node.some(
        inner =>
          graph.operators.get(`${inner.domain === 'ai.onnx' ? '' : inner.domain}::${inner.opType}`)?.discrete ||
          hasChoiceInside(inner, graph),
      ),
    ),
  );
}

/** Whether the node makes a step of a real number that is not exact. */
function rounds(node: GraphNode, { types }: Graph, inexact: ReadonlySet<string>, codes: boolean): boolean {
  const isInexactReal = (value: string) => inexact.has(value) && isReal(types.get(value)?.elemType ?? 0);
  if (node.domain !== '' && node.domain !== 'com.microsoft') return false;
  if (node.opType === 'Cast' || node.opType === 'CastLike')
    return isInexactReal(node.inputs[0]) && isInteger(types.get(node.outputs[0])?.elemType ?? 0);
  if (codes && toCodes.has(node.opType)) return isInexactReal(node.inputs[0]);
  return node.domain === '' && jumps.has(node.opType) && node.inputs.some(isInexactReal);
}
