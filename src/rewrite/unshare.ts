import { buildGraph } from '../graph/graph.ts';
import type { OperatorTable } from '../graph/operator.ts';
import { changeNode, elementCount, type OnnxModel, type OnnxTensor, valueInfo, withName } from '../onnx/index.ts';

/**
 * Give every user its own copy of constants that exporters share because they happen to be equal: biases, scales,
 * shifts, statistics and shape vectors. A linear operator's weight that is used twice stays shared: it ties its uses.
 */
export function unshare(model: OnnxModel, operators: OperatorTable): OnnxModel {
  const graph = buildGraph(model, operators);
  const names = new Set([...graph.types.keys(), ...model.graph.initializers.map(tensor => tensor.name)]);
  const copies: OnnxTensor[] = [];
  const inputsOf = new Map<number, string[]>();
  for (const tensor of model.graph.initializers) {
    const uses = graph.tensors.has(tensor.name) ? (graph.consumers.get(tensor.name) ?? []) : [];
    if (uses.length < 2 || elementCount(tensor) > 65_536) continue;
    const kinds = uses.map(({ node, input }) => node.operator?.roles(node)[input]?.kind);
    if (kinds.some(kind => kind === undefined || kind === 'weight')) continue;
    uses.slice(1).forEach(({ node, input }, i) => {
      let name = `${tensor.name}_${i + 2}`;
      while (names.has(name)) name += '_';
      names.add(name);
      copies.push(withName(tensor, name));
      const inputs = inputsOf.get(node.index) ?? [...node.inputs];
      inputs[input] = name;
      inputsOf.set(node.index, inputs);
    });
  }
  if (copies.length === 0) return model;
  const changed = new Map(
    [...inputsOf].map(([index, input]) => [graph.nodes[index].proto, changeNode(graph.nodes[index].proto, { input })]),
  );
  // Up to IR version 3 every initializer is an input too.
  const listed = model.irVersion < 4 ? copies.map(copy => valueInfo(copy.name, copy.dataType, copy.dims)) : [];
  return {
    ...model,
    graph: {
      ...model.graph,
      nodes: model.graph.nodes.map(node => changed.get(node) ?? node),
      initializers: [...model.graph.initializers, ...copies],
      inputs: [...model.graph.inputs, ...listed],
    },
  };
}
