import type { Batch } from '../data/dataset.ts';
import { buildGraph } from '../graph/graph.ts';
import type { OnnxModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { freeBatch } from '../rewrite/batch.ts';
import { type ChannelStatistics, normalisable, renormalise } from '../rewrite/renorm.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import type { Torch } from '../torch/index.ts';
import { inputOf } from './images.ts';
import { createNetwork, type Network } from './network.ts';
import { withOwned } from './owned.ts';
import { compile } from './program.ts';

/** A network that can be trained in place of one without normalisation, and the way back. */
export interface Renormalised {
  readonly model: OnnxModel;
  /** Number of convolutions that carry a normalisation now. */
  readonly convolutions: number;
  /** How far it is from the file, on a batch of training images. */
  readonly differs: {
    /** In evaluation mode, where it computes the same function: rounding. */
    readonly evaluation: number;
    /** In training mode, where it normalises by the statistics of the batch. */
    readonly training: number;
  };
  /** The file as it was, with the trained constants. */
  readonly fold: (trained: OnnxModel) => OnnxModel;
}

/**
 * Most exporters fold BatchNormalization into the convolution, and such a graph trains badly as it is. Put one behind
 * each convolution that can carry it, from the statistics of its output on training images.
 * @param batches training images in a random order
 * @returns null where there is nothing to do
 */
export function withNormalisation(torch: Torch, start: OnnxModel, batches: readonly Batch[]): Renormalised | null {
  const graph = unsharedGraph(start, operators);
  const { model } = graph;
  const convolutions = normalisable(graph);
  if (convolutions.length === 0) return null;
  const outputs = convolutions.map(node => node.outputs[0]);
  const statistics = torch.scope(() => channelStatistics(torch, model, outputs, batches));
  const { model: changed, fold } = renormalise(
    model,
    graph,
    convolutions,
    new Map(convolutions.map((node, i) => [node.name, statistics[i]])),
  );
  const differs = withOwned(torch, own => distances(own, model, changed, batches[0]));
  return { model: changed, convolutions: convolutions.length, differs, fold };
}

/** Differences of all outputs, as a share of what the file answers (both as root mean squares). */
function distances(torch: Torch, file: OnnxModel, changed: OnnxModel, batch: Batch): Renormalised['differs'] {
  const [before, after] = [file, changed].map(model => createNetwork(torch, model));
  const x = torch.channelsLast(inputOf(torch, before.coupling.graph, batch));
  const outputs = (network: Network, training: boolean) =>
    torch.noGrad(() => network.dense(x, training)).flatMap(output => [...torch.values(output)]);
  const wanted = outputs(before, false);
  const length = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const distance = (training: boolean) =>
    length(outputs(after, training).map((value, i) => value - wanted[i])) / (length(wanted) || 1);
  return { evaluation: distance(false), training: distance(true) };
}

function channelStatistics(
  torch: Torch,
  model: OnnxModel,
  outputs: readonly string[],
  batches: readonly Batch[],
): ChannelStatistics[] {
  const graph = buildGraph(freeBatch(model, operators), operators);
  const program = compile(graph, torch, outputs, []);
  const mean = torch.op('mean.dim');
  const square = torch.op('square');
  const sums: { first: Float64Array; second: Float64Array }[] = [];
  for (const batch of batches) {
    torch.noGrad(() =>
      torch.scope(() => {
        const x = torch.channelsLast(inputOf(torch, graph, batch));
        program.run([x], [], { training: false }).forEach((output, i) => {
          const axes = output.shape.map((_, axis) => axis).filter(axis => axis !== 1);
          const first = torch.values(mean(torch.to(output, 'float64'), axes));
          const second = torch.values(mean(square(torch.to(output, 'float64')), axes));
          sums[i] ??= { first: new Float64Array(first.length), second: new Float64Array(first.length) };
          sums[i].first.forEach((sum, c) => {
            sums[i].first[c] = sum + first[c] / batches.length;
            sums[i].second[c] += second[c] / batches.length;
          });
        });
      }),
    );
  }
  return sums.map(({ first, second }) => ({
    mean: first,
    variance: second.map((value, c) => Math.max(0, value - first[c] ** 2)),
  }));
}
