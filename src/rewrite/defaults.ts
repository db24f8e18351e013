import type { OnnxModel } from '../onnx/index.ts';

/**
 * Take initializers out of the list of inputs, where a file of IR version 4 or later has them as defaults that a caller
 * may replace: they become constants, which can be trained and cut. It changes the file's interface, so it is done only
 * when it is asked for. (Up to IR version 3 the list has to name them and says nothing.)
 */
export function sealDefaults(model: OnnxModel): OnnxModel {
  if (model.irVersion < 4) return model;
  const initial = new Set(model.graph.initializers.map(({ name }) => name));
  const inputs = model.graph.inputs.filter(({ name }) => !initial.has(name));
  return inputs.length === model.graph.inputs.length ? model : { ...model, graph: { ...model.graph, inputs } };
}
