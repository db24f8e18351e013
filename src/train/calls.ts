import type { Engine } from '../graph/engine.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Forward } from '../graph/operator.ts';
import type { MaskPoint } from '../prune/mask-points.ts';

/** A node, or several in a row that one call computes: the first one's inputs and more, the last one's outputs. */
export interface Call {
  readonly node: GraphNode;
  readonly last: GraphNode;
  readonly inputs: readonly string[];
  readonly forward: Forward;
}

/**
 * The calls that compute the nodes, in order: a chain stands where its last node does, since all it takes is there.
 * @param forwardOf what computes a node that no chain begins with
 */
export function callsOf(
  graph: Graph,
  nodes: readonly GraphNode[],
  engine: Engine,
  outputs: readonly string[],
  points: readonly MaskPoint[],
  forwardOf: (node: GraphNode) => Forward,
): Call[] {
  const calls = new Map<GraphNode, Call>();
  const within = new Set<GraphNode>();
  for (const node of nodes) {
    if (within.has(node)) continue;
    const row = rowBehind(graph, node, outputs, points).filter(
      (_, i, all) => !all.slice(0, i + 1).some(n => within.has(n)),
    );
    const chain = row.length > 0 ? node.operator?.forwardChain?.(node, row, engine) : null;
    const members = [node, ...row.slice(0, chain?.length ?? 0)];
    const last = members.at(-1)!;
    for (const member of members) within.add(member);
    calls.set(last, {
      node,
      last,
      inputs: [...node.inputs, ...(chain?.inputs ?? [])],
      forward: chain?.forward ?? forwardOf(node),
    });
  }
  return nodes.flatMap(node => calls.get(node) ?? []);
}

/** The nodes behind one in a row, each the only reader of the one before, with no mask multiplied in between. */
function rowBehind(
  graph: Graph,
  first: GraphNode,
  outputs: readonly string[],
  points: readonly MaskPoint[],
): GraphNode[] {
  const row: GraphNode[] = [];
  for (let node = first; row.length < 2; ) {
    const [value, ...others] = node.outputs.filter(name => name);
    const readers = graph.consumers.get(value) ?? [];
    const isSeen = others.length > 0 || outputs.includes(value);
    if (isSeen || readers.length !== 1 || points.some(point => point.value === value && !point.fold)) break;
    node = readers[0].node;
    // A factor that goes into a later node's constants would be lost on a call that starts before it.
    if (points.some(point => point.fold && point.node.name === node.name)) break;
    row.push(node);
  }
  return row;
}

/** For the position of a call, the computed values that it is the last to read. */
export function lastUses(calls: readonly Call[], outputs: readonly string[]): Map<number, string[]> {
  const last = new Map<string, number>();
  calls.forEach((call, position) => {
    for (const value of call.last.outputs) if (value) last.set(value, position);
    for (const value of call.inputs) if (last.has(value)) last.set(value, position);
  });
  const result = new Map<number, string[]>();
  for (const [value, position] of last) {
    if (!outputs.includes(value)) result.set(position, [...(result.get(position) ?? []), value]);
  }
  return result;
}
