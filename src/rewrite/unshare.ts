import { buildGraph, type Graph, type GraphNode, rolesOf, withCopies } from '../graph/graph.ts';
import type { OperatorTable } from '../graph/operator.ts';
import { captured } from '../graph/order.ts';
import {
  attributesOf,
  changeNode,
  elementCount,
  type OnnxModel,
  type OnnxTensor,
  type TensorData,
  valueInfo,
  withName,
} from '../onnx/index.ts';

/** What a constant may be to several users at once, who are tied by it. */
const tying: readonly (string | undefined)[] = ['weight', 'codes', undefined];

/**
 * Give every user its own copy of constants that exporters share because they happen to be equal: biases, scales,
 * shifts, statistics and shape vectors. A linear operator's weight that is used twice stays shared: it ties its uses.
 */
export const unshare = (shared: OnnxModel, operators: OperatorTable): OnnxModel =>
  unsharedGraph(shared, operators).model;

/** The same with its graph. @throws UserError those of `buildGraph` */
export function unsharedGraph(shared: OnnxModel, operators: OperatorTable): Graph {
  const model = withoutAliases(shared, operators);
  const graph = buildGraph(model, operators);
  const names = new Set([...graph.types.keys(), ...model.graph.initializers.map(tensor => tensor.name)]);
  const copies: OnnxTensor[] = [];
  const inputsOf = new Map<GraphNode, readonly string[]>();
  const fresh = (base: string) => {
    let name = `${base}_2`;
    for (let i = 3; names.has(name); i++) name = `${base}_${i}`;
    names.add(name);
    return name;
  };
  for (const tensor of graph.tensors.values()) {
    const uses = graph.consumers.get(tensor.name) ?? [];
    if (uses.length < 2 || elementCount(tensor) > 65_536) continue;
    // One scale for all of a value has no channels.
    const together = elementCount(tensor) === 1 ? [...tying, 'quantisation'] : tying;
    const own = uses.filter(({ node, input }) => !together.includes(rolesOf(node)[input]?.kind));
    // One of them can keep the constant, unless someone else does.
    for (const { node, input } of own.length < uses.length ? own : own.slice(1)) {
      const name = fresh(tensor.name);
      copies.push(withName(tensor, name));
      inputsOf.set(node, (inputsOf.get(node) ?? node.inputs).with(input, name));
    }
  }
  if (copies.length === 0) return graph;
  const changed = new Map(
    [...inputsOf].map(([{ proto }, input]) => [proto, changeNode(proto, { input: [...input] })] as const),
  );
  // Up to IR version 3 every initializer is an input too.
  const listed = model.irVersion < 4 ? copies.map(copy => valueInfo(copy.name, copy.dataType, copy.dims)) : [];
  const apart = {
    ...model,
    graph: {
      ...model.graph,
      nodes: model.graph.nodes.map(node => changed.get(node) ?? node),
      initializers: [...model.graph.initializers, ...copies],
      inputs: [...model.graph.inputs, ...listed],
    },
  };
  return withCopies(graph, apart, changed);
}

/**
 * Newer exporters share by Identity nodes: one constant is a scale here and, passed on, a variance there. Where what
 * is passed on is no linear operator's weight, the node becomes a constant of its own.
 */
function withoutAliases(model: OnnxModel, operators: OperatorTable): OnnxModel {
  if (!model.graph.nodes.some(({ opType }) => opType === 'Identity')) return model;
  const graph = buildGraph(model, operators);
  const aliases = new Map<GraphNode['proto'], OnnxTensor>();
  for (const node of graph.nodes) {
    const tensor = node.opType === 'Identity' && node.domain === '' ? graph.tensors.get(node.inputs[0]) : undefined;
    const [output] = node.outputs;
    if (!tensor || (graph.consumers.get(tensor.name)?.length ?? 0) < 2 || graph.outputs.includes(output)) continue;
    const kinds = (graph.consumers.get(output) ?? []).map(({ node: user, input }) => rolesOf(user)[input]?.kind);
    if (kinds.some(kind => tying.includes(kind))) continue;
    aliases.set(node.proto, withName(tensor, output));
  }
  if (aliases.size === 0) return model;
  const constants = [...aliases.values()];
  const listed =
    model.irVersion < 4 ? constants.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims)) : [];
  return {
    ...model,
    graph: {
      ...model.graph,
      nodes: model.graph.nodes.filter(node => !aliases.has(node)),
      initializers: [...model.graph.initializers, ...constants],
      inputs: [...model.graph.inputs, ...listed],
    },
  };
}

/** A model in which copies that `unshare` made are one constant again, as far as nothing has changed them since. */
export function reshared(model: OnnxModel): OnnxModel {
  const { graph } = model;
  const named = new Set([
    ...graph.outputs.map(({ name }) => name),
    ...graph.nodes.flatMap(captured),
    // From IR version 4 on, a caller may replace these.
    ...(model.irVersion >= 4 ? graph.inputs.map(({ name }) => name) : []),
  ]);
  const inNodes = graph.nodes.flatMap(node => {
    const value = node.opType === 'Constant' ? attributesOf(node).get('value') : undefined;
    return value && typeof value === 'object' && 'data' in value ? [withName(value, node.output[0])] : [];
  });
  const originals = new Map<TensorData, OnnxTensor>(inNodes.map(tensor => [tensor.data, tensor]));
  const merged = new Map<string, string>();
  for (const tensor of graph.initializers) {
    if (named.has(tensor.name)) continue;
    const original = originals.get(tensor.data);
    if (!original) originals.set(tensor.data, tensor);
    else if (original.dataType === tensor.dataType && original.dims.join() === tensor.dims.join())
      merged.set(tensor.name, original.name);
  }
  if (merged.size === 0) return model;
  const isLeft = ({ name }: { readonly name: string }): boolean => !merged.has(name);
  return {
    ...model,
    graph: {
      ...graph,
      nodes: graph.nodes.map(node =>
        node.input.some(name => merged.has(name))
          ? changeNode(node, { input: node.input.map(name => merged.get(name) ?? name) })
          : node,
      ),
      initializers: graph.initializers.filter(isLeft),
      inputs: graph.inputs.filter(isLeft),
      valueInfo: graph.valueInfo.filter(isLeft),
    },
  };
}
