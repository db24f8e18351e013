import { type Dimension, elemTypeOf, type NodeProto, type OnnxModel, type OnnxTensor, shapeOf } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { printable } from '../util/printable.ts';
import { checkNames, checkTensor, checkType, isUnknown, labelOf, ruled } from './check.ts';
import { isSmall, smallConstOf } from './constants.ts';
import { FileNode, type GraphNode, type Known } from './node.ts';
import type { Const, Dim, OperatorTable, Role, ValueType } from './operator.ts';
import { ordered } from './order.ts';

export type { GraphNode } from './node.ts';

export interface Use {
  readonly node: GraphNode;
  readonly input: number;
}

/** A model with its wiring, shapes and constants worked out. Immutable. */
export interface Graph {
  readonly model: OnnxModel;
  readonly operators: OperatorTable;
  /** In topological order. */
  readonly nodes: readonly GraphNode[];
  /** Inputs that a caller feeds. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Constant tensors of the file: initializers and the values of Constant nodes. */
  readonly tensors: ReadonlyMap<string, OnnxTensor>;
  readonly types: ReadonlyMap<string, ValueType>;
  /** Small values known before anything runs. */
  readonly constants: ReadonlyMap<string, Const>;
  readonly producers: ReadonlyMap<string, GraphNode>;
  readonly consumers: ReadonlyMap<string, readonly Use[]>;
  /** Every value that does not depend on an input. */
  readonly fixed: ReadonlySet<string>;
  /** The symbol of the batch axis (axis 0 of the first input), when it is symbolic. */
  readonly batch: string | null;
}

export interface GraphOptions {
  /** Shapes of inputs, `{ images: [1, 3, 640, 640] }`, and of values for which neither a rule nor the file has one. */
  readonly shapes?: Readonly<Record<string, readonly Dim[]>>;
  /** The model is on the way to another: what is at odds with its operator has unknown shapes, and is not refused. */
  readonly unfinished?: boolean;
}

/**
 * Work out wiring, shapes and constants of a model.
 * @throws UserError E_GRAPH when the nodes cannot be ordered, a value has two producers or none, a shape is impossible or
 *   a node is at odds with its operator; E_TENSOR_DATA when a constant is not as long as it claims
 */
export function buildGraph(model: OnnxModel, operators: OperatorTable, options: GraphOptions = {}): Graph {
  const { graph } = model;
  checkNames(model);
  const initial = new Set(graph.initializers.map(tensor => tensor.name));
  const inputs = graph.inputs.map(input => input.name).filter(name => !initial.has(name));
  const declared = withShapes(declaredTypes(model), options.shapes ?? {});
  const known: Known = { types: new Map(), constants: new Map(), fixed: new Set(), tensors: new Map() };
  // From IR version 4 on, an initializer that is also an input is a default that a caller may replace.
  const replaceable = new Set(model.irVersion >= 4 ? graph.inputs.map(input => input.name) : []);
  for (const tensor of graph.initializers) if (!replaceable.has(tensor.name)) addTensor(tensor, known);
  for (const name of [...inputs, ...replaceable]) {
    const type = declared.get(name);
    if (type) known.types.set(name, type);
  }
  const nodes = ordered(graph.nodes, new Set([...inputs, ...initial])).map((proto, index) => {
    const node = new FileNode(proto, index, model, operators, known);
    infer(node, known, declared, options.unfinished ? tolerant : ruled);
    return node;
  });
  const first = known.types.get(inputs[0])?.shape?.[0];
  return {
    model,
    operators,
    nodes,
    inputs,
    outputs: graph.outputs.map(output => output.name),
    ...known,
    ...wire(nodes),
    batch: typeof first === 'string' ? first : null,
  };
}

/**
 * The graph of a model some of whose nodes read copies of constants that they read before: nothing is worked out anew.
 * @param model with the copies behind its own initializers
 * @param changed nodes of the old model and what they are in the new one
 */
export function withCopies(graph: Graph, model: OnnxModel, changed: ReadonlyMap<NodeProto, NodeProto>): Graph {
  const known: Known = { types: new Map(), constants: new Map(), fixed: new Set(), tensors: new Map() };
  const isOld = new Set(graph.model.graph.initializers.map(({ name }) => name));
  // Initializers first, copies among them, as they would be found in the file.
  for (const tensor of model.graph.initializers) {
    const { name } = tensor;
    if (!isOld.has(name)) {
      addTensor(tensor, known);
      continue;
    }
    if (!graph.tensors.has(name)) continue;
    known.tensors.set(name, tensor);
    known.types.set(name, graph.types.get(name)!);
    const value = graph.constants.get(name);
    if (value) known.constants.set(name, value);
  }
  for (const [name, type] of graph.types) known.types.set(name, type);
  for (const [name, value] of graph.constants) known.constants.set(name, value);
  for (const [name, tensor] of graph.tensors) known.tensors.set(name, tensor);
  for (const name of graph.fixed) known.fixed.add(name);
  const nodes = graph.nodes.map(node => {
    const proto = changed.get(node.proto);
    return proto ? new FileNode(proto, node.index, model, graph.operators, known) : node;
  });
  return { ...graph, model, nodes, ...known, ...wire(nodes) };
}

/** Types as the file states them, with a name for every axis that has none. */
function declaredTypes({ graph }: OnnxModel): Map<string, ValueType> {
  return new Map(
    [...graph.valueInfo, ...graph.outputs, ...graph.inputs].map(info => {
      const shape = shapeOf(info)?.map((dim, axis) => symbolOf(dim) ?? `${info.name}_${axis}`) ?? null;
      const type = { elemType: elemTypeOf(info), shape };
      checkType(type, () => `'${printable(info.name)}' is declared with`);
      return [info.name, type];
    }),
  );
}

/** A length, or a symbol that cannot be taken for a product or a number (dims.ts). */
const symbolOf = (dim: Dimension): Dim | null => (typeof dim === 'string' && /·|^\d+$/.test(dim) ? null : dim);

/** Declared types with other shapes for some values; what these say about symbols holds for all. */
function withShapes(
  declared: ReadonlyMap<string, ValueType>,
  shapes: NonNullable<GraphOptions['shapes']>,
): Map<string, ValueType> {
  const lengths = new Map<Dim, Dim>();
  for (const [name, shape] of Object.entries(shapes)) {
    const before = declared.get(name)?.shape;
    if (before?.length !== shape.length) continue;
    for (const [axis, dim] of before.entries()) if (typeof dim === 'string') lengths.set(dim, shape[axis]);
  }
  const types = new Map<string, ValueType>(
    [...declared].map(([name, { elemType, shape }]) => [
      name,
      { elemType, shape: shape?.map(dim => lengths.get(dim) ?? dim) ?? null },
    ]),
  );
  for (const [name, shape] of Object.entries(shapes)) {
    types.set(name, { elemType: types.get(name)?.elemType ?? 0, shape });
  }
  return types;
}

function addTensor(tensor: OnnxTensor, { tensors, types, fixed, constants }: Known): void {
  const { name } = tensor;
  checkTensor(tensor);
  tensors.set(name, tensor);
  types.set(name, { elemType: tensor.dataType, shape: tensor.dims });
  fixed.add(name);
  const value = smallConstOf(tensor);
  if (value) constants.set(name, value);
}

/** Who makes and who reads each value. */
function wire(nodes: readonly GraphNode[]): Pick<Graph, 'producers' | 'consumers'> {
  const producers = new Map<string, GraphNode>();
  const consumers = new Map<string, Use[]>();
  for (const node of nodes) {
    for (const output of node.outputs) if (output) producers.set(output, node);
    for (const [input, value] of node.inputs.entries()) {
      if (!value) continue;
      const uses = consumers.get(value);
      if (uses) uses.push({ node, input });
      else consumers.set(value, [{ node, input }]);
    }
  }
  return { producers, consumers };
}

/** What a rule says, `otherwise` also where the node is at odds with its operator. */
const tolerant: typeof ruled = (_, rule, otherwise) => {
  try {
    return rule();
  } catch (error) {
    if (isUnknown(error) || (error instanceof UserError && error.code === 'E_GRAPH')) return otherwise;
    throw error;
  }
};

/** Types and small values of a node's outputs; where a rule is missing or gives up, what the file declares. */
function infer(node: GraphNode, known: Known, declared: ReadonlyMap<string, ValueType>, apply: typeof ruled): void {
  const value = node.opType === 'Constant' && node.domain === '' ? node.attribute('value') : undefined;
  if (value && typeof value === 'object' && 'dims' in value) {
    addTensor({ ...value, name: node.outputs[0] }, known);
    return;
  }
  const { operator } = node;
  const ownTypes = (): readonly ValueType[] => {
    const found = operator?.shape(node) ?? [];
    found.forEach((type, i) => {
      if (i < node.outputs.length) checkType(type, () => `${labelOf(node)} would make a value of`);
    });
    return found;
  };
  const types = apply(node, ownTypes, []);
  node.outputs.forEach((output, i) => {
    const type = types[i]?.shape ? types[i] : (declared.get(output) ?? types[i]);
    if (output && type) known.types.set(output, type);
  });
  // What is too large to be a constant of ours is not computed in the first place.
  const isWorthIt = node.outputs.every(output => isSmall(known.types.get(output)));
  const evaluate = isWorthIt ? operator?.evaluate : undefined;
  const values = evaluate ? apply<readonly (Const | null)[]>(node, () => evaluate(node), []) : [];
  node.outputs.forEach((output, i) => {
    if (output && values[i]) known.constants.set(output, values[i]);
  });
  const deterministic = operator !== null && !operator.random && !node.captures.length;
  if (deterministic && node.inputs.every(name => !name || known.fixed.has(name))) {
    for (const output of node.outputs) known.fixed.add(output);
  }
}

/** What a node's constant inputs are to it; nothing where that depends on shapes that are not known. */
export const rolesOf = (node: GraphNode): Readonly<Record<number, Role>> =>
  ruled(node, () => node.operator?.roles(node) ?? {}, {});
