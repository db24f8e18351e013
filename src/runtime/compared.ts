import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Coupling } from '../prune/groups.ts';
import { type KeptChannels, keptIndices } from '../prune/plan.ts';

/** A value that a cut file has to reproduce. */
export interface ComparedValue {
  readonly name: string;
  /** Along each axis what the cut leaves of the full-width value; null: all of it. */
  readonly indices: readonly (readonly number[] | null)[];
}

/**
 * The graph's outputs; for those behind an operator that the contract marks `discrete` (where a rounding error may change
 * everything) the values that go into it, and whatever else joins it on the way.
 * @returns the values, and the outputs that they stand for
 */
export function comparedValues(
  coupling: Coupling,
  kept: KeptChannels,
): { readonly values: readonly ComparedValue[]; readonly replaced: readonly string[] } {
  const { graph } = coupling;
  const behind = behindDiscrete(graph);
  const indices = keptIndices(coupling, kept);
  const names = new Set<string>();
  const visited = new Set<GraphNode>();
  const visit = (value: string): void => {
    if (!behind.has(value)) {
      if (!graph.fixed.has(value) && !graph.inputs.includes(value)) names.add(value);
      return;
    }
    const node = graph.producers.get(value)!;
    if (visited.has(node)) return;
    visited.add(node);
    for (const input of [...node.inputs, ...node.captures]) if (input) visit(input);
  };
  for (const output of graph.outputs) {
    if (behind.has(output)) visit(output);
    else names.add(output);
  }
  const values = [...names].map(name => {
    const rank = graph.types.get(name)?.shape?.length ?? 0;
    return { name, indices: Array.from({ length: rank }, (_, axis) => indices({ value: name, axis })) };
  });
  return { values, replaced: graph.outputs.filter(output => behind.has(output)) };
}

/** Values that a discrete operator makes, or that depend on one. */
function behindDiscrete(graph: Graph): Set<string> {
  const behind = new Set<string>();
  for (const node of graph.nodes) {
    const depends = [...node.inputs, ...node.captures].some(value => behind.has(value));
    const discrete = node.operator?.discrete && !node.outputs.every(value => graph.fixed.has(value));
    if (discrete || depends) for (const output of node.outputs) if (output) behind.add(output);
  }
  return behind;
}
