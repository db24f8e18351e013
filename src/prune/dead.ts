import type { NodeProto, OnnxModel } from '../onnx/index.ts';

const hasSubgraph = (node: NodeProto): boolean => node.attribute.some(({ g, graphs }) => g || graphs.length);

/** Leave out nodes that only fed what the cut replaced by a constant. */
export function withoutDead(
  before: readonly NodeProto[],
  after: readonly NodeProto[],
  outputs: readonly string[],
): readonly NodeProto[] {
  // Sub-graphs read outer values without listing them.
  if (before.some(hasSubgraph)) return after;
  const made = new Set([...alive(before, outputs)].flatMap(node => node.output));
  const left = alive(after, outputs);
  return after.filter(node => left.has(node) || !node.output.some(value => value && made.has(value)));
}

/** The nodes that the graph's outputs depend on. Any of a node's outputs may be left out, the first one too. */
function alive(nodes: readonly NodeProto[], outputs: readonly string[]): Set<NodeProto> {
  const producers = new Map(nodes.flatMap(node => node.output.map(value => [value, node] as const)));
  const found = new Set<NodeProto>();
  const waiting = [...outputs];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    const node = value ? producers.get(value) : undefined;
    if (!node || found.has(node)) continue;
    found.add(node);
    waiting.push(...node.input);
  }
  return found;
}

/** Initializers that some node used before, and none does now. */
export function unusedNow({ graph }: OnnxModel, nodes: readonly NodeProto[]): ReadonlySet<string> {
  if (nodes.some(hasSubgraph)) return new Set();
  const now = new Set([...nodes.flatMap(node => node.input), ...graph.outputs.map(output => output.name)]);
  const before = new Set(graph.nodes.flatMap(node => node.input));
  return new Set(graph.initializers.map(({ name }) => name).filter(name => before.has(name) && !now.has(name)));
}
