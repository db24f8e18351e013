import type { Graph } from '../graph/graph.ts';
import { attributesOf, type OnnxModel, type OnnxTensor, withAttributes } from '../onnx/index.ts';

/**
 * A model with its constants replaced, wherever they live: in initializers or in Constant nodes.
 * @param graph of that model
 * @param updated the tensor itself where nothing changes
 */
export function withConstants(model: OnnxModel, graph: Graph, updated: (tensor: OnnxTensor) => OnnxTensor): OnnxModel {
  const nodes = model.graph.nodes.map(node => {
    const tensor = node.opType === 'Constant' ? graph.tensors.get(node.output[0]) : undefined;
    const next = tensor && updated(tensor);
    if (!next || next === tensor) return node;
    return withAttributes(node, { value: { ...next, name: (attributesOf(node).get('value') as OnnxTensor).name } });
  });
  return { ...model, graph: { ...model.graph, nodes, initializers: model.graph.initializers.map(updated) } };
}
