import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Coupling } from './groups.ts';

/** Channels that have to stay for one reason. */
export interface Wall {
  readonly reason: string;
  /** The node that is the reason; null: the graph's own inputs and outputs, or the channels themselves. */
  readonly node: { readonly name: string; readonly opType: string } | null;
  /** What would let the channels go; null where nothing is known to. */
  readonly unlock: string | null;
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
  return [...byReason].map(([reason, groups]) => {
    const node = nodeIn(reason, nodes);
    return { reason, node: node && { name: node.name, opType: node.opType }, unlock: unlockOf(reason, graph), groups };
  });
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
  [/which a caller may replace$/, 'Take it out of the list of graph inputs, so that it is a constant.'],
  [/^no rule for /, 'Export the model with standard ONNX operators in its place.'],
  [/in a sub-graph$/, 'Export the model without If, Loop or Scan around it.'],
];

const lostShape = /unknown length$|symbolic shape$|are not known$/;

function unlockOf(reason: string, { nodes }: Graph): string | null {
  if (!lostShape.test(reason)) return unlocks.find(([pattern]) => pattern.test(reason))?.[1] ?? null;
  const strangers = [...new Set(nodes.filter(node => !node.operator).map(node => node.opType))];
  return strangers.length > 0
    ? `Shapes are lost at operators without a rule: ${strangers.join(', ')}.`
    : 'Export the model with static shapes.';
}

/** A node whose cost is not known, and why. */
export interface UnknownCost {
  readonly node: string;
  readonly opType: string;
  readonly why: string;
}

/** Why the costs of nodes are not known. @param names as `Cost.unknown` lists them */
export function unknownCosts({ nodes }: Graph, names: readonly string[]): UnknownCost[] {
  const wanted = new Set(names);
  return nodes
    .filter(node => wanted.has(node.name))
    .map(({ name, opType, domain, operator }) => ({
      node: name,
      opType,
      why: operator ? 'lengths of its axes are not known' : `no rule for ${domain ? `${domain}::` : ''}${opType}`,
    }));
}
