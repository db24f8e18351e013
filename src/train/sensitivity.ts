import type { Batch } from '../data/dataset.ts';
import type { Torch } from '../torch/index.ts';
import { stream } from '../util/random.ts';
import { inputOf } from './images.ts';
import type { Network } from './network.ts';

const draws = 4;

/**
 * How much a network's outputs depend on each channel: the mean over images of the squared norm of the derivative of
 * all outputs, each divided by its deviation, with respect to the channel's mask (the Fisher information of Theis et al.,
 * Faster gaze prediction with dense networks and Fisher pruning, 2018, for outputs with Gaussian noise). Two files of the
 * same function have the same, whatever their weights look like. Estimated by random directions, several for each batch:
 * directions of different images are independent, so one backward pass has the sum over all images.
 * @param batches images in a random order
 * @returns one number per channel of the prunable groups
 */
export function sensitivity(torch: Torch, network: Network, batches: readonly Batch[], seed: number): Float64Array {
  const { channels } = network.coupling;
  const sums = new Float64Array(channels);
  network.setMask(new Float32Array(channels).fill(1));
  const [times, total, divide] = ['mul.Tensor', 'sum', 'div.Tensor'].map(name => torch.op(name));
  const [deviation, floor] = [torch.op('std'), torch.op('add.Scalar')];
  batches.forEach((batch, number) => {
    torch.scope(() => {
      const outputs = network.soft(inputOf(torch, network.coupling.graph, batch), false);
      const scaled = outputs.map(output => divide(output, floor(deviation(torch.detach(output)), 1e-6)));
      for (let draw = 0; draw < draws; draw++) {
        const random = stream(seed, 'sensitivity', number, draw);
        const directions = scaled.map(output => {
          const size = output.shape.reduce((a, b) => a * b, 1);
          return torch.tensor(Float32Array.from({ length: size }, random.normal), output.shape);
        });
        const along = scaled
          .map((output, i) => total(times(output, directions[i])))
          .reduce((a, b) => torch.op('add.Tensor')(a, b));
        const [gradient] = torch.grad(along, [network.mask], { retain: draw + 1 < draws });
        const values = torch.values(gradient!);
        for (let channel = 0; channel < channels; channel++) sums[channel] += values[channel] ** 2;
      }
    });
  });
  return sums;
}
