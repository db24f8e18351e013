import type { Graph, GraphNode } from '../graph/graph.ts';
import { openInputs, whyUncounted } from './cost.ts';
import type { Coupling } from './groups.ts';

/** Channels that have to stay for one reason. */
export interface Wall {
  readonly reason: string;
  /** The node that is the reason; null: the graph's own inputs and outputs, or the channels themselves. */
  readonly node: { readonly name: string; readonly opType: string } | null;
  /** What would let the channels go; null where nothing is known to. */
  readonly unlock: string | null;
  /** None where no channels of the graph itself are behind it. */
  readonly groups: readonly { readonly name: string; readonly size: number }[];
}

/** Everything that cannot be pruned, by reason, in the order of the graph. */
export function wallsOf({ graph, walled }: Coupling): Wall[] {
  const byReason = new Map<string, { name: string; size: number }[]>();
  for (const { name, size, reason } of walled) {
    const groups = byReason.get(reason);
    if (groups) groups.push({ name, size });
    else byReason.set(reason, [{ name, size }]);
  }
  const nodes = new Map(graph.nodes.map(node => [node.name, node]));
  for (const node of graph.nodes) {
    const reason = sealedBy(node, graph);
    if (reason !== null && !byReason.has(reason)) byReason.set(reason, []);
  }
  return [...byReason].map(([reason, groups]) => {
    const node = nodeIn(reason, nodes);
    const unlock = node && isComputedOnce(node, graph) ? computedOnce : unlockOf(reason, graph);
    return { reason, node: node && { name: node.name, opType: node.opType }, unlock, groups };
  });
}

/** Why the weights that a node holds are out of reach; null where it holds none. */
function sealedBy(node: GraphNode, graph: Graph): string | null {
  const why = whyUncounted(graph, node);
  if (why === null) return null;
  if (node.operator) return `what ${node.opType} '${node.name}' computes is in a sub-graph`;
  return graph.model.functions.has(`${node.domain}::${node.opType}`)
    ? `what ${node.opType} '${node.name}' computes is in a function of the file`
    : `${why} ('${node.name}')`;
}

/** The node that a reason names in quotes; names may hold quotes themselves. */
function nodeIn(reason: string, nodes: ReadonlyMap<string, GraphNode>): GraphNode | null {
  if (reason.startsWith('graph ')) return null;
  const start = reason.indexOf("'") + 1;
  for (let end = reason.lastIndexOf("'"); start > 0 && end >= start; end = reason.lastIndexOf("'", end - 1)) {
    const node = nodes.get(reason.slice(start, end));
    if (node) return node;
  }
  return null;
}

const unlocks: readonly (readonly [RegExp, string])[] = [
  [
    /which a caller may replace$/,
    '--seal-inputs takes it out of the list of graph inputs: a constant, which callers can no longer replace.',
  ],
  [/^no rule for /, 'Export the model with standard ONNX operators in its place.'],
  [/sub-graph$/, 'Export the model without If, Loop or Scan around it.'],
  [/in a function of the file$/, 'Export the model with its functions inlined.'],
  [
    /(normalises|reduces) over it$/,
    'What goes would change the statistics of what stays: a normalisation of every channel by itself (BatchNormalization) would not.',
  ],
  [
    /(splits it off another axis|merges it with another axis)$/,
    'One of the axes carries the channels; where it is one of heads and their dims, --attention says which.',
  ],
  [/regroups it(| with other axes)$/, 'Export the model with a Reshape that keeps the channels apart from other axes.'],
  [/of a group$/, 'Where it is a convolution of several groups, --grouped says what of them goes.'],
  [/says its length$/, 'Export the model without that output.'],
  [/one that is not known$/, 'Export the model with static shapes.'],
  [/computed from input '/, 'Export the model with that weight as a constant.'],
  [
    /ties axes of different lengths$/,
    'The axes only fit by broadcasting at run time: export the model with static shapes.',
  ],
];

/** Whether a node only depends on constants: how weights look that are normalised before they are used. */
export const isComputedOnce = (node: GraphNode, { fixed }: Graph): boolean =>
  node.outputs.every(value => !value || fixed.has(value));

const computedOnce =
  'It is computed from constants alone: have it computed once (onnxsim, or the basic optimisation of ONNX Runtime), and prune that file.';

const lostShape = /unknown length$|symbolic shape$|are not known$|laid out differently$/;

function unlockOf(reason: string, graph: Graph): string | null {
  if (!lostShape.test(reason)) return unlocks.find(([pattern]) => pattern.test(reason))?.[1] ?? null;
  const types = (nodes: readonly GraphNode[]) => [...new Set(nodes.map(node => node.opType))].join(', ');
  const strangers = graph.nodes.filter(node => !node.operator);
  if (strangers.length > 0) return `Shapes are lost at operators without a rule: ${types(strangers)}.`;
  const nested = graph.nodes.filter(node => node.proto.attribute.some(({ g, graphs }) => g || graphs.length > 0));
  if (nested.length > 0) return `Shapes are lost at sub-graphs: export the model without ${types(nested)}.`;
  const open = openInputs(graph);
  return open.length > 0
    ? `Give the lengths of ${open.map(name => `'${name}'`).join(', ')} by --shape, or fix them in the file (python -m onnxruntime.tools.make_dynamic_shape_fixed).`
    : 'Export the model with static shapes.';
}

/** A node whose cost is not known, and why. */
export interface UnknownCost {
  readonly node: string;
  readonly opType: string;
  readonly why: string;
}

/** Why the costs of nodes are not known. @param names as `Cost.unknown` lists them */
export function unknownCosts(graph: Graph, names: readonly string[]): UnknownCost[] {
  const wanted = new Set(names);
  return graph.nodes
    .filter(node => wanted.has(node.name))
    .map(node => ({
      node: node.name,
      opType: node.opType,
      why: whyUncounted(graph, node) ?? 'lengths of its axes are not known',
    }));
}
