import { isReal } from '../graph/constants.ts';
import type { Graph } from '../graph/graph.ts';
import { type AxisRef, UnknownShape } from '../graph/operator.ts';
import { byteSize } from '../onnx/index.ts';
import { type Coupling, rolesOf } from './groups.ts';

/** The length of an axis as `fixed + sum of multiplicity x kept count`. */
interface Length {
  readonly fixed: number;
  readonly groups: readonly (readonly [group: number, multiplicity: number])[];
}

/** A cost as a polynomial in the groups' kept counts. */
export interface Cost {
  /** At the given kept counts, one per group. */
  at(counts: readonly number[]): number;
  /** Partial derivatives by the kept counts. */
  gradient(counts: readonly number[]): number[];
  /** Of the unpruned network. */
  readonly full: number;
  /** Nodes whose cost is not known (the total is then "at least"). */
  readonly unknown: readonly string[];
}

export type Resource = 'macs' | 'params' | 'size';

/** The cost of a graph in MACs of one image, trainable parameters, or bytes of constants. */
export function costOf(coupling: Coupling, resource: Resource): Cost {
  const { graph } = coupling;
  if (resource === 'macs') return macs(coupling);
  const names = resource === 'params' ? parametersOf(graph).keys() : graph.tensors.keys();
  const terms = [...names].map(name => {
    const tensor = graph.tensors.get(name)!;
    return {
      coefficient: resource === 'params' ? 1 : (byteSize(tensor.dataType) ?? 0),
      lengths: tensor.dims.map((_, axis) => lengthOf(coupling, { value: name, axis })),
    };
  });
  return polynomial(coupling, terms, []);
}

function macs(coupling: Coupling): Cost {
  const { graph } = coupling;
  const unknown: string[] = [];
  const terms = graph.nodes.flatMap(node => {
    try {
      if (!node.operator) throw new UnknownShape();
      return node.operator.cost(node).map(({ coefficient, axes }) => {
        if (!Number.isFinite(coefficient)) throw new UnknownShape();
        return { coefficient, lengths: axes.map(ref => lengthOf(coupling, ref)) };
      });
    } catch (error) {
      if (!(error instanceof UnknownShape)) throw error;
      unknown.push(node.name);
      return [];
    }
  });
  return polynomial(coupling, terms, unknown);
}

/** @throws UnknownShape for a symbolic axis other than the batch, which counts as 1 */
function lengthOf(coupling: Coupling, ref: AxisRef): Length {
  const dim = coupling.graph.types.get(ref.value)?.shape?.[ref.axis];
  if (dim === undefined) throw new UnknownShape();
  if (isBatch(coupling.graph, ref, dim)) return { fixed: 1, groups: [] };
  if (typeof dim === 'string') throw new UnknownShape();
  const channels = coupling.channelsOf(ref);
  if (!channels) return { fixed: dim, groups: [] };
  const counts = new Map<number, number>();
  let fixed = 0;
  for (const channel of channels) {
    if (channel < 0) fixed++;
    else {
      const group = groupOf(coupling, channel);
      counts.set(group, (counts.get(group) ?? 0) + 1);
    }
  }
  return { fixed, groups: [...counts].map(([group, count]) => [group, count / coupling.groups[group].size]) };
}

/** Axis 0 of the first input, and of everything computed that has its length. */
function isBatch({ batch, fixed, inputs, types }: Graph, { value, axis }: AxisRef, dim: number | string): boolean {
  if (typeof dim === 'string') return dim === batch;
  return axis === 0 && !fixed.has(value) && dim === types.get(inputs[0])?.shape?.[0];
}

/** The group of a channel that is numbered over all groups. */
export function groupOf(coupling: Coupling, channel: number): number {
  let low = 0;
  let high = coupling.offsets.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (coupling.offsets[middle] <= channel) low = middle;
    else high = middle - 1;
  }
  return low;
}

interface Term {
  readonly coefficient: number;
  readonly lengths: readonly Length[];
}

function polynomial(coupling: Coupling, terms: readonly Term[], unknown: readonly string[]): Cost {
  const value = ({ fixed, groups }: Length, counts: readonly number[]) =>
    groups.reduce((sum, [group, multiplicity]) => sum + multiplicity * counts[group], fixed);
  const at = (counts: readonly number[]) =>
    terms.reduce(
      (sum, { coefficient, lengths }) => sum + lengths.reduce((a, length) => a * value(length, counts), coefficient),
      0,
    );
  return {
    at,
    gradient(counts) {
      const gradient = counts.map(() => 0);
      for (const { coefficient, lengths } of terms) {
        lengths.forEach((length, which) => {
          if (length.groups.length === 0) return;
          const others = lengths.reduce((a, other, i) => (i === which ? a : a * value(other, counts)), coefficient);
          for (const [group, multiplicity] of length.groups) gradient[group] += multiplicity * others;
        });
      }
      return gradient;
    },
    full: at(coupling.groups.map(group => group.size)),
    unknown,
  };
}

/** What a constant of the file is to the operator that it reaches, through nodes that only depend on constants. */
export type ParameterKind = 'weight' | 'bias' | 'scale' | 'shift' | 'mean' | 'variance';

/** Trainable tensors by name: floats that reach a weight, bias, scale or shift operand, and what they are there. */
export function parametersOf(graph: Graph): Map<string, ParameterKind> {
  const found = new Map<string, ParameterKind>();
  for (const [name, kind] of constantsWithRoles(graph))
    if (kind !== 'mean' && kind !== 'variance') found.set(name, kind);
  return found;
}

/** Running means and variances by name. */
export function buffersOf(graph: Graph): Map<string, ParameterKind> {
  return new Map([...constantsWithRoles(graph)].filter(([, kind]) => kind === 'mean' || kind === 'variance'));
}

function constantsWithRoles(graph: Graph): Map<string, ParameterKind> {
  const found = new Map<string, ParameterKind>();
  const trace = (value: string, kind: ParameterKind) => {
    const tensor = graph.tensors.get(value);
    if (tensor) {
      if (isReal(tensor.dataType) && !found.has(value)) found.set(value, kind);
      return;
    }
    const producer = graph.producers.get(value);
    for (const input of producer?.inputs ?? []) if (input) trace(input, kind);
  };
  for (const node of graph.nodes) {
    if (node.outputs.every(value => graph.fixed.has(value))) continue;
    for (const [input, role] of Object.entries(rolesOf(node))) {
      const value = node.inputs[Number(input)];
      if (value && role.kind !== 'shape' && graph.fixed.has(value)) trace(value, role.kind);
    }
  }
  return found;
}
