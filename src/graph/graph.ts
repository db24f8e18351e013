import {
  type AttributeValue,
  attributesOf,
  elementCount,
  elemTypeOf,
  type GraphProto,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  shapeOf,
} from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { constOf, isSmall } from './constants.ts';
import type { AxisRef, NodeView } from './operator.ts';
import { type Const, type Dim, type Operator, type OperatorTable, UnknownShape, type ValueType } from './operator.ts';

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
  /** Lengths for the axes of inputs: `{ images: [1, 3, 640, 640] }`. */
  readonly shapes?: Readonly<Record<string, readonly Dim[]>>;
}

/**
 * Work out wiring, shapes and constants of a model.
 * @throws UserError E_GRAPH when the nodes cannot be ordered or a value has two producers
 */
export function buildGraph(model: OnnxModel, operators: OperatorTable, options: GraphOptions = {}): Graph {
  const { graph } = model;
  const initial = new Map(graph.initializers.map(tensor => [tensor.name, tensor]));
  // From IR version 4 on, an initializer that is also an input is a default that a caller may replace.
  const replaceable = new Set(model.irVersion >= 4 ? graph.inputs.map(input => input.name) : []);
  const tensors = new Map([...initial].filter(([name]) => !replaceable.has(name)));
  const inputs = graph.inputs.map(input => input.name).filter(name => !initial.has(name));
  const types = new Map<string, ValueType>();
  const constants = new Map<string, Const>();
  const fixed = new Set<string>();
  const declared = new Map<string, ValueType>();
  for (const info of [...graph.valueInfo, ...graph.outputs, ...graph.inputs]) {
    declared.set(info.name, { elemType: elemTypeOf(info), shape: namedShape(info.name, shapeOf(info)) });
  }
  for (const name of [...inputs, ...replaceable]) {
    const type = declared.get(name);
    const shape = options.shapes?.[name];
    if (type) types.set(name, shape ? { ...type, shape } : type);
  }
  const addTensor = (name: string, tensor: OnnxTensor) => {
    tensors.set(name, tensor);
    types.set(name, { elemType: tensor.dataType, shape: tensor.dims });
    fixed.add(name);
    if (isSmall(tensor)) constants.set(name, constOf(tensor));
  };
  for (const [name, tensor] of [...tensors]) addTensor(name, tensor);

  const known: Known = { types, constants, fixed };
  const nodes = ordered(graph.nodes, new Set([...inputs, ...initial.keys()])).map((proto, index) =>
    makeNode(proto, index, model, operators, known),
  );
  for (const node of nodes) {
    const value = node.opType === 'Constant' && node.domain === '' ? node.attribute('value') : undefined;
    if (value && typeof value === 'object' && 'dims' in value) {
      addTensor(node.outputs[0], { ...value, name: node.outputs[0] });
      continue;
    }
    infer(node, known, declared);
  }

  const producers = new Map<string, GraphNode>();
  const consumers = new Map<string, Use[]>();
  for (const node of nodes) {
    for (const output of node.outputs) {
      if (!output) continue;
      if (producers.has(output) || initial.has(output)) {
        throw new UserError('E_GRAPH', `The value '${output}' has two producers.`, { where: model.path });
      }
      producers.set(output, node);
    }
    node.inputs.forEach((value, input) => {
      if (!value) return;
      const uses = consumers.get(value);
      if (uses) uses.push({ node, input });
      else consumers.set(value, [{ node, input }]);
    });
  }
  const first = types.get(inputs[0])?.shape?.[0];
  return {
    model,
    operators,
    nodes,
    inputs,
    outputs: graph.outputs.map(output => output.name),
    tensors,
    types,
    constants,
    producers,
    consumers,
    fixed,
    batch: typeof first === 'string' ? first : null,
  };
}

interface Known {
  readonly types: Map<string, ValueType>;
  readonly constants: Map<string, Const>;
  readonly fixed: Set<string>;
}

/** Types and small values of a node's outputs; where a rule is missing or gives up, what the file declares. */
function infer(node: GraphNode, known: Known, declared: ReadonlyMap<string, ValueType>): void {
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

/** A declared shape with names for the axes that have none. */
function namedShape(value: string, shape: readonly (number | string | null)[] | null): readonly Dim[] | null {
  return shape && shape.map((dim, axis) => dim ?? `${value}_${axis}`);
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

/** Values that a node's sub-graphs read but do not make themselves. */
function captured(proto: NodeProto): string[] {
  const names = new Set<string>();
  const visit = (graph: GraphProto) => {
    const own = new Set([
      ...graph.input.map(value => value.name),
      ...graph.initializer.map(tensor => tensor.name),
      ...graph.node.flatMap(node => node.output),
    ]);
    const inner = new Set<string>();
    for (const node of graph.node) {
      for (const input of node.input) if (input) inner.add(input);
      for (const attribute of node.attribute)
        for (const sub of subgraphs(attribute)) for (const name of visit(sub)) inner.add(name);
    }
    for (const output of graph.output) inner.add(output.name);
    return [...inner].filter(name => !own.has(name));
  };
  for (const attribute of proto.attribute) {
    for (const graph of subgraphs(attribute)) for (const name of visit(graph)) names.add(name);
  }
  return [...names];
}

const subgraphs = (attribute: NodeProto['attribute'][number]): GraphProto[] =>
  attribute.g ? [attribute.g, ...attribute.graphs] : attribute.graphs;

/** Kahn's algorithm, keeping the file's order where it is one already. */
function ordered(nodes: readonly NodeProto[], available: Set<string>): readonly NodeProto[] {
  const made = new Set(nodes.flatMap(node => node.output));
  const waits = (node: NodeProto) =>
    [...node.input, ...captured(node)].filter(name => made.has(name) && !available.has(name));
  const result: NodeProto[] = [];
  const waiting = new Map<string, number[]>();
  const missing = new Int32Array(nodes.length);
  const ready: number[] = [];
  const finish = (index: number) => {
    result.push(nodes[index]);
    for (const output of nodes[index].output) {
      available.add(output);
      for (const next of waiting.get(output) ?? []) if (--missing[next] === 0) ready.push(next);
      waiting.delete(output);
    }
  };
  nodes.forEach((node, index) => {
    const names = new Set(waits(node));
    missing[index] = names.size;
    if (names.size === 0) finish(index);
    for (const name of names) waiting.set(name, [...(waiting.get(name) ?? []), index]);
    while (ready.length) finish(ready.shift()!);
  });
  if (result.length < nodes.length) {
    const stuck = nodes.find((_, index) => missing[index] > 0)!;
    throw new UserError('E_GRAPH', `The nodes form a cycle at '${stuck.name || stuck.opType}'.`, {
      fix: 'The file is not a valid ONNX graph; export it again.',
    });
  }
  return result;
}

/** Number of elements of all trainable tensors: what reports call parameters. */
export const countElements = (tensors: Iterable<OnnxTensor>): number => {
  let sum = 0;
  for (const tensor of tensors) sum += elementCount(tensor);
  return sum;
};
