import { create } from '@bufbuild/protobuf';
import type { OnnxModel } from '../onnx/model.ts';
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts';
import { readModel } from '../onnx/read.ts';
import { openModel, type RuntimeTensor, type RuntimeType } from './session.ts';

export interface ProbedValue {
  readonly type: RuntimeType;
  readonly shape: readonly number[];
}

/**
 * Shapes and element types of a graph's values, found by running it once with everything as an output; for operators
 * that have no shape rule. Values inside sub-graphs cannot be seen, nor those that are no tensors.
 * @param model a model or the path of one
 * @param inputs as `finiteInputs` makes them
 * @param names only these values; all that the nodes of the graph compute by default
 * @throws UserError E_RUNTIME when the file does not run on these inputs, E_NO_RUNTIME
 */
export async function probeShapes(
  model: OnnxModel | string,
  inputs: Readonly<Record<string, RuntimeTensor>>,
  names?: readonly string[],
): Promise<Map<string, ProbedValue>> {
  const original = typeof model === 'string' ? readModel(model) : model;
  const { graph } = original;
  const computed = new Set(graph.nodes.flatMap(node => node.output).filter(Boolean));
  const wanted = new Set(names?.filter(name => computed.has(name)) ?? computed);
  const declared = new Set(graph.outputs.map(output => output.name));
  const added = [...wanted].filter(name => !declared.has(name)).map(name => create(ValueInfoProtoSchema, { name }));
  const probe = { ...original, graph: { ...graph, outputs: [...graph.outputs, ...added] } };
  // Unoptimised: an optimiser may drop the values that are asked for.
  const session = await openModel(probe, { optimize: 'none' });
  try {
    const tensors = session.outputs.filter(output => output.type !== null && wanted.has(output.name));
    const results = await session.run(
      inputs,
      tensors.map(output => output.name),
    );
    return new Map(Object.entries(results).map(([name, { type, shape }]) => [name, { type, shape }]));
  } finally {
    await session.dispose();
  }
}
