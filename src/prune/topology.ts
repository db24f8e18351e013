import type { Graph } from '../graph/graph.ts';
import type { Coupling, Group } from './groups.ts';

/**
 * What a group looks like without its names and widths: the operators that make and read its axes, which axes these are,
 * and how often a channel lies on each. Groups with the same text are isomorphic as far as their operators are concerned
 * (layers of equal stages, say).
 */
export const topologyOf = ({ members }: Group, { graph }: Coupling): string =>
  members
    .map(({ value, axis, multiplicity, weight }) => {
      const made = graph.producers.get(value)?.opType ?? (graph.tensors.has(value) ? 'constant' : 'input');
      return `${made} ${axis} x${multiplicity} ${weight ?? ''} -> ${readersOf(value, graph)}`;
    })
    .sort()
    .join('\n');

const readersOf = (value: string, { consumers }: Graph): string =>
  (consumers.get(value) ?? [])
    .map(({ node, input }) => `${node.opType}:${input}`)
    .sort()
    .join(' ');
