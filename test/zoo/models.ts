import type { OnnxModel } from '../../src/onnx/model.ts';
import { DataType, elementCount, type OnnxTensor, withData } from '../../src/onnx/tensor.ts';
import { describeNetwork, type NetworkOptions } from '../../src/zoo/index.ts';

/** Options for the published input and head. */
export function asPublished(name: string): NetworkOptions {
  const { input, classes } = describeNetwork(name).published;
  const [channels, height, width] = input;
  return { classes, channels, size: [height, width], seed: 0 };
}

/** Weights, biases, scales and running statistics: all float tensors of the file. */
export const floatsOf = (model: OnnxModel): readonly OnnxTensor[] =>
  model.graph.initializers.filter(tensor => tensor.dataType === DataType.FLOAT);

/** Trainable parameters, as PyTorch counts them: without running statistics. */
export const parametersOf = (model: OnnxModel): number =>
  floatsOf(model)
    .filter(({ name }) => !/running_(mean|var)$/.test(name))
    .reduce((sum, tensor) => sum + elementCount(tensor), 0);

/** Irregular numbers in [-1, 1), the same as `formula` of golden.py. */
export function formula(length: number, k: number): Float64Array {
  const numbers = new Float64Array(length);
  for (let i = 0; i < length; i++) numbers[i] = (2 * ((31 * i * i + 17 * i + 101 * k) % 9973)) / 9973 - 1;
  return numbers;
}

/** The model with the parameters that `fill` of golden.py gives the PyTorch module of the same names. */
export function filled(model: OnnxModel): OnnxModel {
  const names = floatsOf(model)
    .map(({ name }) => name)
    .sort();
  const initializers = model.graph.initializers.map(tensor => {
    const { name, dims } = tensor;
    const place = names.indexOf(name);
    if (place < 0) return tensor;
    const length = elementCount(tensor);
    const [offset, scale] = name.endsWith('running_var')
      ? [1, 0.5]
      : dims.length === 1
        ? [name.endsWith('weight') ? 1 : 0, 0.1]
        : [0, Math.sqrt((6 / length) * dims[0])];
    const numbers = formula(length, place);
    for (let i = 0; i < length; i++) numbers[i] = offset + scale * numbers[i];
    const values = new Float32Array(numbers);
    return withData(tensor, dims, new Uint8Array(values.buffer));
  });
  return { ...model, graph: { ...model.graph, initializers } };
}
