import {
  type AttributeValue,
  attributesOf,
  elemTypeOf,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  shapeOf,
} from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { smallConstOf } from './constants.ts';
import {
  type AxisRef,
  type Const,
  type Dim,
  type NodeView,
  type Operator,
  type OperatorTable,
  type Role,
  UnknownShape,
  type ValueType,
} from './operator.ts';
import { captured, ordered } from './order.ts';

/** A node of a graph: its operator's view of it, and where it stands in the file. */
export interface GraphNode extends NodeView {
  readonly index: number;
  readonly domain: string;
  readonly proto: NodeProto;
  /** null: there is no record for this operator. */
  readonly operator: Operator | null;
  /** Values of the main graph that its sub-graphs (If, Loop, Scan) read by name. */
  readonly captures: readonly string[];
}

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
}

/**
 * Work out wiring, shapes and constants of a model.
 * @throws UserError E_GRAPH when the nodes cannot be ordered or a value has two producers
 */
export function buildGraph(model: OnnxModel, operators: OperatorTable, options: GraphOptions = {}): Graph {
  const { graph } = model;
  const initial = new Set(graph.initializers.map(tensor => tensor.name));
  const inputs = graph.inputs.map(input => input.name).filter(name => !initial.has(name));
  const declared = declaredTypes(model);
  for (const [name, shape] of Object.entries(options.shapes ?? {})) {
    declared.set(name, { elemType: declared.get(name)?.elemType ?? 0, shape });
  }
  const known: Known = { types: new Map(), constants: new Map(), fixed: new Set(), tensors: new Map() };
  // From IR version 4 on, an initializer that is also an input is a default that a caller may replace.
  const replaceable = new Set(model.irVersion >= 4 ? graph.inputs.map(input => input.name) : []);
  for (const tensor of graph.initializers) if (!replaceable.has(tensor.name)) addTensor(tensor, known);
  for (const name of [...inputs, ...replaceable]) {
    const type = declared.get(name);
    if (type) known.types.set(name, type);
  }
  const nodes = ordered(graph.nodes, new Set([...inputs, ...initial])).map((proto, index) => {
    const node = makeNode(proto, index, model, operators, known);
    infer(node, known, declared);
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
    ...wire(nodes, initial, model.path),
    batch: typeof first === 'string' ? first : null,
  };
}

interface Known {
  readonly types: Map<string, ValueType>;
  readonly constants: Map<string, Const>;
  readonly fixed: Set<string>;
  readonly tensors: Map<string, OnnxTensor>;
}

/** Types as the file states them, with a name for every axis that has none. */
function declaredTypes({ graph }: OnnxModel): Map<string, ValueType> {
  return new Map(
    [...graph.valueInfo, ...graph.outputs, ...graph.inputs].map(info => {
      const shape = shapeOf(info)?.map((dim, axis) => dim ?? `${info.name}_${axis}`) ?? null;
      return [info.name, { elemType: elemTypeOf(info), shape }];
    }),
  );
}

function addTensor(tensor: OnnxTensor, { tensors, types, fixed, constants }: Known): void {
  const { name } = tensor;
  tensors.set(name, tensor);
  types.set(name, { elemType: tensor.dataType, shape: tensor.dims });
  fixed.add(name);
  const value = smallConstOf(tensor);
  if (value) constants.set(name, value);
}

/** Who makes and who reads each value. */
function wire(
  nodes: readonly GraphNode[],
  initial: ReadonlySet<string>,
  path?: string,
): Pick<Graph, 'producers' | 'consumers'> {
  const producers = new Map<string, GraphNode>();
  const consumers = new Map<string, Use[]>();
  for (const node of nodes) {
    for (const output of node.outputs) {
      if (!output) continue;
      if (producers.has(output) || initial.has(output)) {
        throw new UserError('E_GRAPH', `The value '${output}' has two producers.`, { where: path });
      }
      producers.set(output, node);
    }
    for (const [input, value] of node.inputs.entries()) {
      if (!value) continue;
      const uses = consumers.get(value);
      if (uses) uses.push({ node, input });
      else consumers.set(value, [{ node, input }]);
    }
  }
  return { producers, consumers };
}

/** Types and small values of a node's outputs; where a rule is missing or gives up, what the file declares. */
function infer(node: GraphNode, known: Known, declared: ReadonlyMap<string, ValueType>): void {
  const value = node.opType === 'Constant' && node.domain === '' ? node.attribute('value') : undefined;
  if (value && typeof value === 'object' && 'dims' in value) {
    addTensor({ ...value, name: node.outputs[0] }, known);
    return;
  }
  const attempt = <T>(rule: (() => readonly T[]) | undefined): readonly T[] => {
    try {
      return rule?.() ?? [];
    } catch (error) {
      if (error instanceof UnknownShape) return [];
      throw error;
    }
  };
  const { operator } = node;
  const types = attempt<ValueType>(operator ? () => operator.shape(node) : undefined);
  node.outputs.forEach((output, i) => {
    const type = types[i]?.shape ? types[i] : (declared.get(output) ?? types[i]);
    if (output && type) known.types.set(output, type);
  });
  const values = attempt<Const | null>(operator?.evaluate ? () => operator.evaluate!(node) : undefined);
  node.outputs.forEach((output, i) => {
    if (output && values[i]) known.constants.set(output, values[i]);
  });
  const deterministic = operator !== null && !node.captures.length;
  if (deterministic && node.inputs.every(name => !name || known.fixed.has(name))) {
    for (const output of node.outputs) known.fixed.add(output);
  }
}

/** What a node's constant inputs are to it; nothing where that depends on shapes that are not known. */
export function rolesOf(node: GraphNode): Readonly<Record<number, Role>> {
  try {
    return node.operator?.roles(node) ?? {};
  } catch (error) {
    if (error instanceof UnknownShape) return {};
    throw error;
  }
}

function makeNode(proto: NodeProto, index: number, model: OnnxModel, table: OperatorTable, known: Known): GraphNode {
  const domain = proto.domain === 'ai.onnx' ? '' : proto.domain;
  const attributes = attributesOf(proto);
  const { input: inputs, output: outputs, opType } = proto;
  const read = <T>(name: string, is: (value: AttributeValue) => value is AttributeValue & T, otherwise: T): T => {
    const value = attributes.get(name);
    return value !== undefined && is(value) ? value : otherwise;
  };
  const isNumber = (value: AttributeValue): value is number => typeof value === 'number';
  const isString = (value: AttributeValue): value is string => typeof value === 'string';
  const shapeIn = (value: string) => {
    const shape = known.types.get(value)?.shape;
    if (!shape) throw new UnknownShape();
    return shape;
  };
  const ref = (value: string, axis: number): AxisRef => ({
    value,
    axis: axis < 0 ? axis + shapeIn(value).length : axis,
  });
  const unknownType: ValueType = { elemType: 0, shape: null };
  return {
    index,
    domain,
    proto,
    operator: model.functions.has(`${domain}::${opType}`) ? null : (table.get(`${domain}::${opType}`) ?? null),
    captures: captured(proto),
    name: proto.name || `${opType}_${index}`,
    opType,
    version: model.opsets.get(domain) ?? 1,
    inputs,
    outputs,
    has: i => Boolean(inputs[i]),
    attribute: name => attributes.get(name),
    int: (name, otherwise) => read(name, isNumber, otherwise),
    float: (name, otherwise) => read(name, isNumber, otherwise),
    string: (name, otherwise) => read(name, isString, otherwise),
    ints: name => {
      const value = attributes.get(name);
      return Array.isArray(value) ? (value as readonly number[]) : null;
    },
    type: i => known.types.get(inputs[i]) ?? unknownType,
    shape: i => shapeIn(inputs[i]),
    outputShape: i => shapeIn(outputs[i]),
    constant: i => (inputs[i] ? (known.constants.get(inputs[i]) ?? null) : null),
    constantInts: i => {
      const values = inputs[i] ? known.constants.get(inputs[i])?.values : undefined;
      return values?.every(value => typeof value === 'number') ? (values as number[]) : null;
    },
    axis: (i, axis) => ref(inputs[i], axis),
    outputAxis: (i, axis) => ref(outputs[i], axis),
    isConstant: i => Boolean(inputs[i]) && known.fixed.has(inputs[i]),
  };
}
