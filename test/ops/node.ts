import { buildGraph, type Graph } from '../../src/graph/graph.ts';
import { type AttributeInput, DataType, GraphBuilder, type OnnxTensor } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import type { Tensor, Torch } from '../../src/torch/index.ts';
import { compile } from '../../src/train/program.ts';

/** One node: inputs by shape, constants as tensors, `null` where one is left out. */
export interface NodeUnderTest {
  readonly op: string;
  readonly inputs: readonly (readonly (number | string)[] | OnnxTensor | null)[];
  readonly attributes?: Readonly<Record<string, AttributeInput>>;
  readonly opset?: number;
  /** Domain of the operator, at version 1. */
  readonly domain?: string;
  readonly outputs?: number;
  /** Element type of the inputs; float by default. */
  readonly elemType?: number;
}

const isTensor = (input: unknown): input is OnnxTensor =>
  typeof input === 'object' && input !== null && 'dims' in input;

/** The graph of one node; inputs are called x0, x1 ... by place, outputs y0, y1 ... */
export function nodeGraph({
  op,
  inputs,
  attributes,
  opset = 17,
  domain = '',
  outputs = 1,
  elemType,
}: NodeUnderTest): Graph {
  const g = new GraphBuilder({ opset, domains: domain ? { [domain]: 1 } : {} });
  const names = inputs.map((input, i) => {
    if (input === null) return '';
    if (isTensor(input)) return g.tensor({ ...input, name: `x${i}` });
    return g.input(`x${i}`, input, elemType ?? DataType.FLOAT);
  });
  const made = Array.from({ length: outputs }, (_, i) => `y${i}`);
  g.node(op, names, attributes ?? {}, { name: op, domain, outputs: made });
  const { types } = buildGraph(g.model(), operators);
  for (const name of made) g.output(name, null, types.get(name)?.elemType);
  return buildGraph(g.model(), operators);
}

/** Shape of the node's first output. */
export const shapeOf = (node: NodeUnderTest) => nodeGraph(node).types.get('y0')?.shape;

/** Run the node under the engine. */
export function forward(torch: Torch, node: NodeUnderTest, inputs: readonly Tensor[], training = false): Tensor[] {
  const graph = nodeGraph(node);
  return compile(graph, torch, graph.outputs, []).run(inputs, [], { training }) as Tensor[];
}
