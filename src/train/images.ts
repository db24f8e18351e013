import type { Batch } from '../data/dataset.ts';
import type { Tensor } from '../graph/engine.ts';
import type { Graph } from '../graph/graph.ts';
import type { Torch } from '../torch/index.ts';

/** A batch's images as the network's input: as they are, or as rows where it takes two axes. */
export function inputOf(torch: Torch, graph: Graph, { images, shape }: Pick<Batch, 'images' | 'shape'>): Tensor {
  const isFlat = graph.types.get(graph.inputs[0])?.shape?.length === 2;
  return torch.tensor(images, isFlat ? [shape[0], images.length / shape[0]] : shape);
}

/** Class scores of two axes from those that have more of length 1 behind them, [N, C, 1, 1]; others as they are. */
export const withoutEmptyAxes =
  (torch: Torch) =>
  (output: Tensor): Tensor =>
    output.shape.length > 2 && output.shape.slice(2).every(length => length === 1)
      ? torch.op('reshape')(output, output.shape.slice(0, 2))
      : output;
