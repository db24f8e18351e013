import type { Preprocessing } from '../data/dataset.ts';
import { buildGraph, type Graph } from '../graph/graph.ts';
import type { Dim } from '../graph/operator.ts';
import { operators } from '../ops/index.ts';
import type { Coupling } from '../prune/groups.ts';

/** The shape of a network's image input, with the lengths that it is fed where the file leaves them open. */
function fedShape({ inputs, types }: Graph, { size, color, layout }: Preprocessing): readonly Dim[] | null {
  const shape = types.get(inputs[0])?.shape;
  if (shape?.length !== 4 || !size || shape.slice(1).every(dim => typeof dim === 'number')) return null;
  const channels = color === 'gray' ? 1 : 3;
  const image = layout === 'nhwc' ? [...size, channels] : [channels, ...size];
  return [shape[0], ...image.map((length, i) => (typeof shape[i + 1] === 'number' ? shape[i + 1] : length))];
}

/** A coupling whose costs are those of the images that are fed: the file may leave their size open. */
export function pricedFor(coupling: Coupling, preprocessing: Preprocessing): Coupling {
  const { graph } = coupling;
  const shape = fedShape(graph, preprocessing);
  if (!shape) return coupling;
  return { ...coupling, graph: buildGraph(graph.model, operators, { shapes: { [graph.inputs[0]]: shape } }) };
}

/** Shapes for ONNX Runtime to be fed with, by input: nothing where the file says them all. */
export function imageShapes(graph: Graph, preprocessing: Preprocessing): Readonly<Record<string, readonly number[]>> {
  const shape = fedShape(graph, preprocessing);
  return shape ? { [graph.inputs[0]]: shape.map(dim => (typeof dim === 'number' ? dim : 1)) } : {};
}
