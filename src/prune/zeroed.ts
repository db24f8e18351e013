import { isReal } from '../graph/constants.ts';
import type { GraphNode } from '../graph/graph.ts';
import {
  type ByteSource,
  byteSize,
  bytesOf,
  changeNode,
  makeNode,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  tensorOf,
  valueInfo,
  withDerived,
  withName,
} from '../onnx/index.ts';
import { type Coupling, rolesOf, type Sum, sumsByNode } from './groups.ts';
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
    const zeroed = zeroAlong(tensor, axis, left, zeroCodes(coupling, node, input));
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
  const sums = sumsByNode(coupling);
  for (const { node, input, axis } of coupling.sums) {
    const left = indices({ value: node.inputs[input], axis });
    if (!left) continue;
    const target = weightOf(coupling, node, input, axis) ??
      partner(coupling, sums.get(node)!, input, axis) ?? { input, axis };
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
function isZeroable(coupling: Coupling, node: GraphNode, input: number): boolean {
  const tensor = coupling.graph.tensors.get(node.inputs[input]);
  if (tensor === undefined) return false;
  return isReal(tensor.dataType) || (byteSize(tensor.dataType) === 1 && zeroCodes(coupling, node, input) !== null);
}

/** Which codes of a weight of 8-bit codes mean zero, along which of its axes. */
interface ZeroCodes {
  readonly axis: number;
  /** One for all, or one for each index of the axis. */
  readonly codes: Uint8Array;
}

/** null: the weight is of real numbers, or nothing is known of its zero point. */
function zeroCodes({ graph }: Coupling, node: GraphNode, input: number): ZeroCodes | null {
  const role = rolesOf(node)[input];
  if (role?.kind !== 'weight' || !role.codes) return null;
  const { axis, zeroPoint } = role.codes;
  if (!node.has(zeroPoint)) return { axis, codes: Uint8Array.of(0) };
  const tensor = graph.tensors.get(node.inputs[zeroPoint]);
  return tensor ? { axis, codes: bytesOf(tensor) } : null;
}

/** Whether removed channels lie at the same channels of both axes, so that zeroing one of them is enough. */
function sameChannels(coupling: Coupling, node: GraphNode, a: Operand, b: Operand): boolean {
  const channels = ({ input, axis }: Operand) => new Set(coupling.channelsOf({ value: node.inputs[input], axis }));
  const [first, second] = [channels(a), channels(b)];
  return first.size === second.size && [...first].every(channel => second.has(channel));
}

/**
 * The weight whose columns are zeroed for a sum over an input, and its axis: the input itself if it is one, else the first
 * with the same channels, which is the one that the input is multiplied with (a recurrence has another one, of the state).
 * null: there is no constant one.
 */
function weightOf(coupling: Coupling, node: GraphNode, input: number, axis: number): Operand | null {
  const weights = Object.entries(rolesOf(node)).flatMap(([key, role]) =>
    role.kind === 'weight' ? [{ input: Number(key), axis: role.in }] : [],
  );
  const own = weights.find(weight => weight.input === input && weight.axis === axis);
  // One of several is not multiplied with the others' operands, so that nothing else can be zero in its place.
  if (own && (weights.length > 1 || isZeroable(coupling, node, input))) return own;
  const pair = weights.find(weight => sameChannels(coupling, node, { input, axis }, weight));
  return pair && isZeroable(coupling, node, pair.input) ? pair : null;
}

/**
 * The first operand that the node sums over by the same channels and that depends on an input of the graph.
 * @param sums of the node
 */
function partner(coupling: Coupling, sums: readonly Sum[], input: number, axis: number): Operand | null {
  const isPartner = (sum: Sum) =>
    !coupling.graph.fixed.has(sum.node.inputs[sum.input]) && sameChannels(coupling, sum.node, { input, axis }, sum);
  return sums.find(isPartner) ?? null;
}

/** A tensor with zeros at all indices of an axis that are not listed. */
function zeroAlong(tensor: OnnxTensor, axis: number, left: readonly number[], zero: ZeroCodes | null): OnnxTensor {
  return withDerived(tensor, tensor.dims, source => zeroed(source, tensor, axis, left, zero));
}

function zeroed(
  { byteLength, read }: ByteSource,
  { dims, dataType }: OnnxTensor,
  axis: number,
  left: readonly number[],
  zero: ZeroCodes | null,
): ByteSource {
  const stays = new Set(left);
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, byteSize(dataType)!);
  // Elements between two indices of the axis along which zero points differ; codes are bytes.
  const step = zero ? dims.slice(zero.axis + 1).reduce((product, dim) => product * dim, 1) : 1;
  return {
    byteLength,
    read(offset, length) {
      const bytes = read(offset, length).slice();
      for (let row = Math.floor(offset / inner); row * inner < offset + length; row++) {
        if (stays.has(row % dims[axis])) continue;
        const [from, to] = [Math.max(offset, row * inner), Math.min(offset + length, (row + 1) * inner)];
        if (!zero || zero.codes.length === 1) bytes.fill(zero?.codes[0] ?? 0, from - offset, to - offset);
        else for (let i = from; i < to; i++) bytes[i - offset] = zero.codes[Math.floor(i / step) % dims[zero.axis]];
      }
      return bytes;
    },
  };
}
