import { isReal } from '../graph/constants.ts';
import type { GraphNode } from '../graph/graph.ts';
import {
  byteSize,
  bytesOf,
  changeNode,
  makeNode,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  tensorOf,
  valueInfo,
  withData,
  withName,
} from '../onnx/index.ts';
import { type Coupling, rolesOf } from './groups.ts';
import { type KeptChannels, keptIndices } from './plan.ts';

/**
 * The full-width model in which removed channels add nothing to anything that sums over them: what a cut file is equal
 * to (docs/architecture.md). Where the summing node has a constant weight, its columns of these channels become
 * zero; elsewhere a product with a constant of zeros and ones goes in front of the node. Everything else, followers such
 * as depthwise convolutions included, stays as it is; so do the names of all values.
 */
export function zeroConsumers(coupling: Coupling, kept: KeptChannels): OnnxModel {
  const { graph } = coupling;
  const { model } = graph;
  const indices = keptIndices(coupling, kept);
  const initializers = new Map(model.graph.initializers.map(tensor => [tensor.name, tensor]));
  const names = new Set([...initializers.keys(), ...graph.types.keys(), ...graph.producers.keys()]);
  const added: OnnxTensor[] = [];
  const inputsOf = new Map<GraphNode, string[]>();
  const products = new Map<GraphNode, NodeProto[]>();

  const fresh = (base: string): string => {
    let name = base;
    for (let i = 2; names.has(name); i++) name = `${base}_${i}`;
    names.add(name);
    return name;
  };
  const add = (tensor: OnnxTensor): string => {
    added.push(tensor);
    return tensor.name;
  };
  const connect = (node: GraphNode, input: number, value: string): void => {
    const inputs = inputsOf.get(node) ?? [...node.inputs];
    inputs[input] = value;
    inputsOf.set(node, inputs);
  };
  /** The value on its way into one node, after what was put in front of that node before. */
  const arriving = (node: GraphNode, input: number): string => inputsOf.get(node)?.[input] ?? node.inputs[input];

  const zeroWeight = (node: GraphNode, input: number, axis: number, left: readonly number[]): void => {
    const name = arriving(node, input);
    const tensor = initializers.get(name) ?? added.find(own => own.name === name) ?? graph.tensors.get(name)!;
    const zeroed = zeroAlong(tensor, axis, left);
    const place = added.indexOf(tensor);
    if (place >= 0) added[place] = zeroed;
    else if (initializers.has(name) && graph.consumers.get(name)?.length === 1) initializers.set(name, zeroed);
    else connect(node, input, add(withName(zeroed, fresh(`${name}_zeroed`))));
  };

  const multiply = (node: GraphNode, input: number, axis: number, left: readonly number[]): void => {
    const { elemType, shape } = graph.types.get(node.inputs[input])!;
    const length = shape![axis] as number;
    const factors = new Array<number>(length).fill(0);
    for (const index of left) factors[index] = 1;
    const value = arriving(node, input);
    const mask = add(
      tensorOf(
        fresh(`${value}_kept`),
        factors,
        shape!.map((_, a) => (a === axis ? length : 1)),
        elemType,
      ),
    );
    const output = fresh(`${value}_masked`);
    products.set(node, [...(products.get(node) ?? []), makeNode('Mul', [value, mask], [output], {}, { name: output })]);
    connect(node, input, output);
  };

  const done = new Set<string>();
  for (const { node, input, axis } of coupling.sums) {
    const left = indices({ value: node.inputs[input], axis });
    if (!left || node.outputs.every(value => graph.fixed.has(value))) continue;
    const target = weightOf(coupling, node, input, axis) ?? partner(coupling, node, input, axis) ?? { input, axis };
    const key = `${node.index} ${target.input} ${target.axis}`;
    if (done.has(key)) continue;
    done.add(key);
    const remaining = indices({ value: node.inputs[target.input], axis: target.axis })!;
    if (isZeroable(coupling, node, target.input)) zeroWeight(node, target.input, target.axis, remaining);
    else multiply(node, target.input, target.axis, remaining);
  }

  const byProto = new Map(graph.nodes.map(node => [node.proto, node]));
  const nodes = model.graph.nodes.flatMap(proto => {
    const node = byProto.get(proto)!;
    const inputs = inputsOf.get(node);
    return [...(products.get(node) ?? []), inputs ? changeNode(proto, { input: inputs }) : proto];
  });
  // Up to IR version 3 every initializer is an input too.
  const listed = model.irVersion < 4 ? added.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims)) : [];
  return {
    ...model,
    graph: {
      ...model.graph,
      nodes,
      initializers: [...initializers.values(), ...added],
      inputs: [...model.graph.inputs, ...listed],
    },
  };
}

interface Operand {
  readonly input: number;
  readonly axis: number;
}

/** A constant that is one of the file's own tensors, with elements that can be set to zero. */
function isZeroable({ graph }: Coupling, node: GraphNode, input: number): boolean {
  const tensor = graph.tensors.get(node.inputs[input]);
  return tensor !== undefined && isReal(tensor.dataType);
}

/** Whether removed channels lie at the same channels of both axes, so that zeroing one of them is enough. */
function sameChannels(coupling: Coupling, node: GraphNode, a: Operand, b: Operand): boolean {
  const channels = ({ input, axis }: Operand) => new Set(coupling.channelsOf({ value: node.inputs[input], axis }));
  const [first, second] = [channels(a), channels(b)];
  return first.size === second.size && [...first].every(channel => second.has(channel));
}

/** The weight that an input is multiplied with, and its axis that the node sums over; null where there is no constant one. */
function weightOf(coupling: Coupling, node: GraphNode, input: number, axis: number): Operand | null {
  for (const [key, role] of Object.entries(rolesOf(node))) {
    if (role.kind !== 'weight') continue;
    const weight = { input: Number(key), axis: role.in };
    if (isZeroable(coupling, node, weight.input) && sameChannels(coupling, node, { input, axis }, weight))
      return weight;
  }
  return null;
}

/** The first operand that depends on the input of the graph and that the node sums over by the same channels. */
function partner(coupling: Coupling, node: GraphNode, input: number, axis: number): Operand | null {
  const candidates = coupling.sums.filter(
    sum => sum.node === node && !coupling.graph.fixed.has(node.inputs[sum.input]),
  );
  return candidates.find(sum => sameChannels(coupling, node, { input, axis }, sum)) ?? null;
}

/** A tensor with zeros at all indices of an axis that are not listed. */
function zeroAlong(tensor: OnnxTensor, axis: number, left: readonly number[]): OnnxTensor {
  const { dims } = tensor;
  const bytes = bytesOf(tensor).slice();
  const stays = new Set(left);
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, byteSize(tensor.dataType)!);
  for (let at = 0, row = 0; at < bytes.length; at += inner, row++) {
    if (!stays.has(row % dims[axis])) bytes.fill(0, at, at + inner);
  }
  return withData(tensor, dims, bytes);
}
