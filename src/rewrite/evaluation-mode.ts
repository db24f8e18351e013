import { buildGraph } from '../graph/graph.ts';
import type { OperatorTable } from '../graph/operator.ts';
import { changeNode, type NodeProto, type OnnxModel, withAttributes } from '../onnx/index.ts';

/**
 * A file that was exported in training mode, as it is used: BatchNormalization with its running statistics, Dropout as
 * the identity. Outputs that only training mode has go where nothing reads them.
 * @returns the names of the nodes that changed
 */
export function inEvaluationMode(model: OnnxModel, operators: OperatorTable): { model: OnnxModel; changed: string[] } {
  const graph = buildGraph(model, operators);
  const changes = new Map<NodeProto, NodeProto>();
  const changed: string[] = [];
  for (const node of graph.nodes) {
    if (node.domain !== '') continue;
    const surplus = node.outputs.slice(1).filter(Boolean);
    if (surplus.some(value => graph.consumers.has(value) || graph.outputs.includes(value))) continue;
    const one = { output: [node.outputs[0]] };
    let next: NodeProto | undefined;
    if (node.opType === 'BatchNormalization' && (node.int('training_mode', 0) === 1 || surplus.length > 0)) {
      next = changeNode(withAttributes(node.proto, { training_mode: undefined }), one);
    } else if (node.opType === 'Dropout' && node.constant(2)?.values[0] === 1) {
      next = changeNode(node.proto, { ...one, input: node.inputs.slice(0, 2) });
    }
    if (!next) continue;
    changes.set(node.proto, next);
    changed.push(node.name);
  }
  if (changed.length === 0) return { model, changed };
  const nodes = model.graph.nodes.map(node => changes.get(node) ?? node);
  return { model: { ...model, graph: { ...model.graph, nodes } }, changed };
}
