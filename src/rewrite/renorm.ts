import { buildGraph, type Graph, type GraphNode } from '../graph/graph.ts';
import {
  changeNode,
  float,
  floats,
  makeNode,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  tensorOf,
  valueInfo,
  withFloats,
} from '../onnx/index.ts';
import { withConstants } from './with-constants.ts';

/** Mean and variance of each output channel of a convolution, over images and space. */
export interface ChannelStatistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/** A normalisation that was put behind a convolution: the names that belong to it. */
interface Inserted {
  readonly weight: string;
  readonly bias: string | null;
  /** The value that the convolution made, and the normalisation makes now. */
  readonly output: string;
  readonly raw: string;
}

const epsilon = 1e-5;
const part = (inserted: Inserted, name: string): string => `${inserted.output}/norm.${name}`;

/** Whether activations are normalised: by an operator, or step by step, as LayerNormalization before opset 17. */
export const isNormalised = (graph: Graph): boolean =>
  graph.nodes.some(
    node => node.opType.endsWith('Normalization') || (node.opType === 'Sqrt' && isDeviation(graph, node.inputs[0])),
  );

/** A mean, or one with something added to it, that is not known beforehand. */
function isDeviation(graph: Graph, variance: string): boolean {
  const made = graph.producers.get(variance);
  if (!made || graph.tensors.has(variance)) return false;
  return (
    made.opType === 'ReduceMean' ||
    (made.opType === 'Add' && made.inputs.some(value => graph.producers.get(value)?.opType === 'ReduceMean'))
  );
}

/**
 * Convolutions of a graph without any normalisation that can carry one: constant weights, more than one position to
 * average over, and another weight further on (a head keeps its scale).
 */
export function normalisable(graph: Graph): GraphNode[] {
  if (isNormalised(graph)) return [];
  const leadsOn = new Set<string>();
  for (const node of [...graph.nodes].reverse()) {
    const weighty = ['Conv', 'Gemm', 'MatMul', 'ConvTranspose'].includes(node.opType);
    if (weighty || node.outputs.some(value => leadsOn.has(value))) for (const value of node.inputs) leadsOn.add(value);
  }
  return graph.nodes.filter(node => {
    const [, , ...spatial] = graph.types.get(node.outputs[0])?.shape ?? [];
    return (
      node.opType === 'Conv' &&
      graph.tensors.has(node.inputs[1]) &&
      (!node.has(2) || graph.tensors.has(node.inputs[2])) &&
      graph.consumers.get(node.inputs[1])?.length === 1 &&
      leadsOn.has(node.outputs[0]) &&
      spatial.some(dim => dim !== 1)
    );
  });
}

/**
 * Put a BatchNormalization behind convolutions so that in evaluation mode nothing changes: it divides by the channel's
 * own deviation and multiplies by it again. Filters are brought to the norm of a fresh network (He et al., ICCV 2015,
 * fan in) and the statistics with them, since behind a normalisation only a filter's direction counts, and the norm
 * sets how far a step turns it.
 * @param statistics of the output of every convolution, by node name
 */
export function renormalise(
  model: OnnxModel,
  graph: Graph,
  convolutions: readonly GraphNode[],
  statistics: ReadonlyMap<string, ChannelStatistics>,
): { model: OnnxModel; fold: (trained: OnnxModel) => OnnxModel } {
  const tensors = new Map(model.graph.initializers.map(tensor => [tensor.name, tensor]));
  const changed = new Map<NodeProto, readonly NodeProto[]>();
  const inserted: Inserted[] = [];
  for (const node of convolutions) {
    const [output] = node.outputs;
    const own: Inserted = {
      weight: node.inputs[1],
      bias: node.inputs[2] || null,
      output,
      raw: `${output}/before_norm`,
    };
    inserted.push(own);
    const { mean, variance } = statistics.get(node.name)!;
    const weight = graph.tensors.get(own.weight)!;
    const factors = toUnitNorm(weight);
    setRows(tensors, changed, graph, weight, factors);
    if (own.bias) setRows(tensors, changed, graph, graph.tensors.get(own.bias)!, factors);
    const vector = (name: string, of: (i: number) => number) => {
      const full = part(own, name);
      tensors.set(full, tensorOf(full, Float32Array.from(mean.keys(), of), [mean.length]));
      return full;
    };
    const scaledVariance = (i: number) => Math.fround(variance[i] * factors[i] ** 2);
    const norm = makeNode(
      'BatchNormalization',
      [
        own.raw,
        // mean and deviation of what the convolution made before it was rescaled
        vector('scale', i => Math.sqrt(scaledVariance(i) + epsilon) / factors[i]),
        vector('shift', i => mean[i]),
        vector('mean', i => mean[i] * factors[i]),
        vector('variance', scaledVariance),
      ],
      [output],
      { epsilon: float(epsilon), momentum: float(0.9) },
      { name: `${node.name}/norm` },
    );
    changed.set(node.proto, [changeNode(node.proto, { output: [own.raw] }), norm]);
  }
  return {
    model: {
      ...model,
      irVersion: Math.max(4, model.irVersion),
      graph: {
        ...model.graph,
        inputs: model.graph.inputs.filter(info => !graph.tensors.has(info.name)),
        nodes: model.graph.nodes.flatMap(node => changed.get(node) ?? [node]),
        initializers: [...tensors.values()],
      },
    },
    fold: trained => fold(model, graph, trained, inserted),
  };
}

/** One factor per filter that brings it to norm sqrt 2; a filter of zeros stays. */
function toUnitNorm(weight: OnnxTensor): Float64Array {
  const values = floats(weight);
  const rows = weight.dims[0];
  const length = values.length / rows;
  return Float64Array.from({ length: rows }, (_, row) => {
    let square = 0;
    for (let i = row * length; i < (row + 1) * length; i++) square += values[i] ** 2;
    return square > 0 ? Math.SQRT2 / Math.sqrt(square) : 1;
  });
}

/** Multiply the rows of a constant, wherever it lives. */
function setRows(
  tensors: Map<string, OnnxTensor>,
  changed: Map<NodeProto, readonly NodeProto[]>,
  graph: Graph,
  tensor: OnnxTensor,
  factors: ArrayLike<number>,
): void {
  const scaled = withFloats(tensor, tensor.dims, rowsTimes(floats(tensor), factors));
  tensors.set(tensor.name, scaled);
  // A weight in a Constant node becomes an initializer of the graph that is trained.
  const producer = graph.producers.get(tensor.name);
  if (producer) changed.set(producer.proto, []);
}

function rowsTimes(values: Float32Array, factors: ArrayLike<number>): Float32Array {
  const length = values.length / factors.length;
  return values.map((value, i) => value * factors[Math.floor(i / length)]);
}

/** The original model with the trained constants, its normalisations folded into the convolutions in front of them. */
function fold(original: OnnxModel, graph: Graph, trained: OnnxModel, inserted: readonly Inserted[]): OnnxModel {
  const current = buildGraph(trained, graph.operators).tensors;
  const valuesOf = (name: string) => floats(current.get(name)!);
  const folded = new Map<string, Float32Array>();
  const addedBias = new Map<string, string>();
  for (const own of inserted) {
    const [scale, shift, mean, variance] = ['scale', 'shift', 'mean', 'variance'].map(name =>
      valuesOf(part(own, name)),
    );
    const factors = Float64Array.from(scale, (value, i) => value / Math.sqrt(variance[i] + epsilon));
    const bias = own.bias ? valuesOf(own.bias) : new Float32Array(scale.length);
    folded.set(own.weight, rowsTimes(valuesOf(own.weight), factors));
    const name = own.bias ?? `${own.weight}/bias`;
    folded.set(
      name,
      Float32Array.from(bias, (value, i) => (value - mean[i]) * factors[i] + shift[i]),
    );
    if (!own.bias) addedBias.set(own.output, name);
  }
  const updated = (tensor: OnnxTensor): OnnxTensor => {
    const values = folded.get(tensor.name);
    return values ? withFloats(tensor, tensor.dims, values) : (current.get(tensor.name) ?? tensor);
  };
  const biases = [...addedBias.values()].map(name => tensorOf(name, folded.get(name)!, [folded.get(name)!.length]));
  const restored = withConstants(original, graph, updated);
  const listed =
    original.irVersion < 4 ? biases.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims)) : [];
  const nodes = restored.graph.nodes.map(node => {
    const bias = addedBias.get(node.output[0]);
    return bias ? changeNode(node, { input: [node.input[0], node.input[1], bias] }) : node;
  });
  return {
    ...restored,
    graph: {
      ...restored.graph,
      nodes,
      initializers: [...restored.graph.initializers, ...biases],
      inputs: [...restored.graph.inputs, ...listed],
    },
  };
}
