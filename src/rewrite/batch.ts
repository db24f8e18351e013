import { buildGraph } from '../graph/graph.ts';
import type { OperatorTable } from '../graph/operator.ts';
import { changeNode, type OnnxModel, type OnnxTensor, shapeOf, tensorOf, withShape } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';

/**
 * Free the batch axis of a file that was exported for a fixed one, so that it can be trained with any: inputs get a
 * symbolic axis 0, and a Reshape whose constant target starts with the fixed batch copies it from its input instead.
 * Only the graph that is trained is changed; the file that is handed back keeps its batch.
 * @throws UserError E_FIXED_BATCH where a node holds the batch in a way that cannot be freed
 */
export function freeBatch(model: OnnxModel, operators: OperatorTable): OnnxModel {
  const before = buildGraph(model, operators);
  const fixed = before.types.get(before.inputs[0])?.shape?.[0];
  if (typeof fixed !== 'number') return model;
  const symbol = 'batch';
  const free = new Set(before.inputs.filter(name => before.types.get(name)?.shape?.[0] === fixed));
  const inputs = model.graph.inputs.map(info => {
    const shape = free.has(info.name) ? shapeOf(info) : null;
    return shape ? withShape(info, [symbol, ...shape.slice(1)]) : info;
  });
  const added: OnnxTensor[] = [];
  const changed = new Map<string, ReturnType<typeof changeNode>>();
  for (const node of before.nodes) {
    const target = node.opType === 'Reshape' && node.domain === '' ? node.constantInts(1) : null;
    if (!target || target[0] !== fixed || node.isConstant(0) || before.types.get(node.inputs[0])?.shape?.[0] !== fixed)
      continue;
    const name = `${node.outputs[0]}_batch_free`;
    added.push(tensorOf(name, BigInt64Array.from([0, ...target.slice(1)], BigInt), [target.length]));
    changed.set(node.outputs[0], changeNode(node.proto, { input: [node.inputs[0], name, ...node.inputs.slice(2)] }));
  }
  const undeclared = (infos: typeof model.graph.valueInfo) =>
    infos.map(info => {
      const shape = shapeOf(info);
      return shape?.[0] === fixed && !before.fixed.has(info.name) ? withShape(info, [symbol, ...shape.slice(1)]) : info;
    });
  const freed: OnnxModel = {
    ...model,
    irVersion: Math.max(4, model.irVersion),
    graph: {
      ...model.graph,
      inputs: inputs.filter(info => !before.tensors.has(info.name)),
      outputs: undeclared(model.graph.outputs),
      valueInfo: [],
      nodes: model.graph.nodes.map(node => changed.get(node.output[0]) ?? node),
      initializers: [...model.graph.initializers, ...added],
    },
  };
  const after = buildGraph(freed, operators);
  for (const node of after.nodes) {
    if (node.opType !== 'Reshape' || node.isConstant(0)) continue;
    const from = after.types.get(node.inputs[0])?.shape;
    const to = after.types.get(node.outputs[0])?.shape;
    if (from?.[0] !== symbol || to?.includes(symbol)) continue;
    throw new UserError(
      'E_FIXED_BATCH',
      `Reshape '${node.name}' holds the batch of ${fixed} that the file was exported with.`,
      {
        where: model.path,
        fix: 'Export the model with a dynamic batch axis (torch.onnx.export: dynamic_axes={"input": {0: "batch"}}), or train with --batch 1.',
      },
    );
  }
  return freed;
}
