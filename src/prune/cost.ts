import { isUnknown } from '../graph/check.ts';
import { isReal } from '../graph/constants.ts';
import { numericPart, symbolsOf } from '../graph/dims.ts';
import { buildGraph, type Graph, type GraphNode } from '../graph/graph.ts';
import { type AxisRef, costsNothing, type Role, UnknownShape } from '../graph/operator.ts';
import { DataType, dataTypeBytes, type NodeProto } from '../onnx/index.ts';
import { type FixedBatch, fixedBatch } from './fixed-batch.ts';
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
  /** What it grows by when one group has `count` channels instead; looks at that group's terms only. */
  change(counts: readonly number[], group: number, count: number): number;
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
  const names = resource === 'params' ? countedParameters(graph) : [...graph.tensors.keys()];
  const terms = names.map(name => {
    const tensor = graph.tensors.get(name)!;
    return {
      coefficient: resource === 'params' ? 1 : dataTypeBytes(tensor.dataType),
      lengths: tensor.dims.map((_, axis) => lengthOf(coupling, { value: name, axis })),
    };
  });
  return polynomial(coupling, terms, []);
}

function macs(coupling: Coupling): Cost {
  const cost = macsIn(coupling);
  // Axes that the batch was merged into have lengths as soon as it has one.
  if (cost.unknown.length === 0 || coupling.graph.batch === null) return cost;
  const ofOne = macsIn({ ...coupling, graph: ofOneImage(coupling.graph) });
  return ofOne.unknown.length < cost.unknown.length ? ofOne : cost;
}

/** The graph with a batch of 1 where it is open. */
function ofOneImage({ model, operators, inputs, types, batch }: Graph): Graph {
  const shapes = inputs.flatMap(name => {
    const shape = types.get(name)?.shape;
    return shape ? [[name, shape.map(dim => (dim === batch ? 1 : dim))] as const] : [];
  });
  return buildGraph(model, operators, { shapes: Object.fromEntries(shapes) });
}

function macsIn(coupling: Coupling): Cost {
  const { graph } = coupling;
  const unknown: string[] = [];
  const batch = fixedBatch(graph);
  const terms = graph.nodes.flatMap(node => {
    try {
      if (!isCounted(graph, node.proto)) throw new UnknownShape();
      return node.operator!.cost(node).map(({ coefficient, axes }) => {
        if (!Number.isFinite(coefficient)) throw new UnknownShape();
        const isMerged = batch && !axes.some(ref => isFixedBatch(graph, ref, batch)) && axes.some(batch.carries);
        return {
          coefficient: isMerged ? coefficient / batch.length : coefficient,
          lengths: axes.map(ref => lengthOf(coupling, ref, batch)),
        };
      });
    } catch (error) {
      if (!isUnknown(error)) throw error;
      unknown.push(node.name);
      return [];
    }
  });
  return polynomial(coupling, terms, unknown);
}

/** Whether there is a rule for the cost of a node; sub-graphs have none, so nothing in them may cost. */
function isCounted({ model, operators }: Graph, node: NodeProto): boolean {
  const hasRule = ({ domain, opType }: NodeProto): boolean =>
    operators.has(keyOf(domain, opType)) && !model.functions.has(keyOf(domain, opType));
  const isFree = (inner: NodeProto): boolean =>
    hasRule(inner) && costsNothing(operators.get(keyOf(inner.domain, inner.opType))!) && bodies(inner).every(isFree);
  return hasRule(node) && bodies(node).every(isFree);
}

const keyOf = (domain: string, type: string): string => `${domain === 'ai.onnx' ? '' : domain}::${type}`;

/** The nodes of a node's sub-graphs. */
const bodies = ({ attribute }: NodeProto): NodeProto[] =>
  attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs)).flatMap(graph => graph.node);

/** Inputs with an axis of unknown length besides the batch: what lengths of axes depend on. */
export function openInputs({ inputs, types, batch }: Graph): string[] {
  return inputs.filter(name => types.get(name)?.shape?.some(dim => typeof dim === 'string' && dim !== batch));
}

/** Whether costs are unknown for want of lengths of inputs, which a caller can give. */
export function lacksLengths(graph: Graph, { unknown }: Cost): boolean {
  if (openInputs(graph).length === 0) return false;
  const names = new Set(unknown);
  return graph.nodes.some(node => names.has(node.name) && whyUncounted(graph, node) === null);
}

/** What a node has that no rule counts; null: only lengths are missing. */
export function whyUncounted(graph: Graph, { proto, domain, opType, operator }: GraphNode): string | null {
  if (isCounted(graph, proto)) return null;
  if (graph.model.functions.has(keyOf(domain, opType))) return `${opType} is a function of the file`;
  return operator ? 'its sub-graphs are not counted' : `no rule for ${domain ? `${domain}::` : ''}${opType}`;
}

/** @throws UnknownShape for a symbolic axis other than the batch, which counts as 1 */
function lengthOf(coupling: Coupling, ref: AxisRef, batch: FixedBatch | null = null): Length {
  const dim = coupling.graph.types.get(ref.value)?.shape?.[ref.axis];
  if (dim === undefined) throw new UnknownShape();
  if (dim === coupling.graph.batch || (batch && isFixedBatch(coupling.graph, ref, batch)))
    return { fixed: 1, groups: [] };
  // An axis that the batch was merged into has its other factors for every image.
  if (symbolsOf(dim).some(symbol => symbol !== coupling.graph.batch)) throw new UnknownShape();
  const channels = coupling.channelsOf(ref);
  if (!channels) return { fixed: numericPart(dim), groups: [] };
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

/** Whether an axis is a batch of fixed length and nothing else: axis 0 of everything computed that has its length. */
const isFixedBatch = ({ fixed, types }: Graph, { value, axis }: AxisRef, { length }: FixedBatch): boolean =>
  axis === 0 && !fixed.has(value) && types.get(value)?.shape?.[0] === length;

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
  const product = ({ coefficient, lengths }: Term, counts: readonly number[]) =>
    lengths.reduce((a, length) => a * value(length, counts), coefficient);
  const at = (counts: readonly number[]) => terms.reduce((sum, term) => sum + product(term, counts), 0);
  const termsOf: Term[][] = coupling.groups.map(() => []);
  for (const term of terms) {
    const own = new Set(term.lengths.flatMap(({ groups }) => groups.map(([group]) => group)));
    for (const group of own) termsOf[group].push(term);
  }
  return {
    at,
    change(counts, group, count) {
      const lengthThen = ({ fixed, groups }: Length) =>
        groups.reduce((sum, [g, multiplicity]) => sum + multiplicity * (g === group ? count : counts[g]), fixed);
      return termsOf[group].reduce(
        (sum, term) =>
          sum + term.lengths.reduce((a, length) => a * lengthThen(length), term.coefficient) - product(term, counts),
        0,
      );
    },
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
    if (kind !== 'mean' && kind !== 'variance' && isReal(graph.tensors.get(name)!.dataType)) found.set(name, kind);
  return found;
}

/** The same and their like in quantised files, where they are integer codes. */
const countedParameters = (graph: Graph): string[] =>
  [...constantsWithRoles(graph)].flatMap(([name, kind]) => (kind === 'mean' || kind === 'variance' ? [] : [name]));

/** Types that weights and biases are quantised to. */
const codes: ReadonlySet<number> = new Set([
  DataType.INT8,
  DataType.UINT8,
  DataType.INT32,
  DataType.INT4,
  DataType.UINT4,
]);

/** Running means and variances by name. */
export function buffersOf(graph: Graph): Map<string, ParameterKind> {
  return new Map([...constantsWithRoles(graph)].filter(([, kind]) => kind === 'mean' || kind === 'variance'));
}

function constantsWithRoles(graph: Graph): Map<string, ParameterKind> {
  const found = new Map<string, ParameterKind>();
  // What a value comes from has the role that it was first seen in.
  const seen = new Set<string>();
  const trace = (value: string, kind: ParameterKind) => {
    const waiting = [value];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      if (seen.has(at)) continue;
      seen.add(at);
      const tensor = graph.tensors.get(at);
      if (tensor) {
        if (isReal(tensor.dataType) || codes.has(tensor.dataType)) found.set(at, kind);
        continue;
      }
      const producer = graph.producers.get(at);
      if (!producer) continue;
      const roles = rolesOf(producer);
      for (let input = producer.inputs.length - 1; input >= 0; input--) {
        if (producer.has(input) && !isSetting(roles[input])) waiting.push(producer.inputs[input]);
      }
    }
  };
  for (const node of graph.nodes) {
    if (node.outputs.every(value => graph.fixed.has(value))) continue;
    for (const [input, role] of Object.entries(rolesOf(node))) {
      const value = node.inputs[Number(input)];
      if (!value || !graph.fixed.has(value)) continue;
      if (role.kind !== 'shape' && role.kind !== 'quantisation' && role.kind !== 'codes') trace(value, role.kind);
    }
  }
  return found;
}

/** Whether an operand says how to compute, instead of being computed with. */
const isSetting = (role: Role | undefined): boolean => role?.kind === 'shape' || role?.kind === 'quantisation';
