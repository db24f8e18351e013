import { create } from '@bufbuild/protobuf';
import { captured } from '../graph/order.ts';
import { DataType, type NodeProto, type OnnxModel, type ValueInfoProto, valueInfo } from '../onnx/index.ts';
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts';
import type { RuntimeType } from './session.ts';

/** An output whose type the runtime finds out. */
const undeclared = (name: string): ValueInfoProto => create(ValueInfoProtoSchema, { name });

/** The model with more outputs. */
export function withOutputs(model: OnnxModel, names: readonly string[]): OnnxModel {
  const declared = new Set(model.graph.outputs.map(output => output.name));
  const added = names.filter(name => !declared.has(name)).map(undeclared);
  if (added.length === 0) return model;
  return { ...model, graph: { ...model.graph, outputs: [...model.graph.outputs, ...added] } };
}

/** By the names that the runtime has for them. */
const elemTypeOf = (type: RuntimeType): number =>
  type === 'float32'
    ? DataType.FLOAT
    : type === 'float64'
      ? DataType.DOUBLE
      : DataType[type.toUpperCase() as keyof typeof DataType];

/**
 * The part of a model that computes some values from others, which become inputs, and from those of the graph's own inputs
 * that it needs.
 * @param given element types of the values that are fed
 * @param wanted the outputs, and no others
 */
export function partOf(
  model: OnnxModel,
  given: ReadonlyMap<string, RuntimeType>,
  wanted: readonly string[],
): OnnxModel {
  const { graph } = model;
  const producers = new Map<string, NodeProto>();
  for (const node of graph.nodes) for (const output of node.output) if (output) producers.set(output, node);
  const needed = new Set<NodeProto>();
  const read = new Set(wanted);
  // A set takes more while it is gone through.
  for (const value of read) {
    const node = producers.get(value);
    if (!node || given.has(value) || needed.has(node)) continue;
    needed.add(node);
    for (const input of [...node.input, ...captured(node)]) if (input) read.add(input);
  }
  const fed = [...given].filter(([name]) => read.has(name));
  const declared = new Map([...graph.valueInfo, ...graph.outputs].map(info => [info.name, info]));
  return {
    ...model,
    graph: {
      ...graph,
      nodes: graph.nodes.filter(node => needed.has(node)),
      initializers: graph.initializers.filter(tensor => read.has(tensor.name)),
      inputs: [
        ...graph.inputs.filter(({ name }) => read.has(name)),
        ...fed.map(([name, type]) => valueInfo(name, elemTypeOf(type), null)),
      ],
      outputs: wanted.map(name => declared.get(name) ?? undeclared(name)),
      valueInfo: graph.valueInfo.filter(({ name }) => !given.has(name)),
    },
  };
}
