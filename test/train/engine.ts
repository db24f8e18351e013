import { openEngine, type Tensor, type Torch } from '../../src/torch/index.ts';

/**
 * The engine with one thread and images in their own order. In channels_last libtorch adds up the sums of batch
 * normalisation one by one in float32, which costs up to 1e-3 of a gradient's norm; in plain order 1e-6, as in the
 * golden files and as comparisons of single gradients need.
 */
export async function plainEngine(): Promise<Torch> {
  const torch = await openEngine({ threads: 1 });
  return { ...torch, channelsLast: tensor => tensor as Tensor };
}
