import { beforeAll, expect, test } from 'vitest';
import type { Batch } from '../../src/data/dataset.ts';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { createNetwork } from '../../src/train/network.ts';
import { withNormalisation } from '../../src/train/renormalised.ts';
import { sensitivity } from '../../src/train/sensitivity.ts';
import { stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

const batchOf = (shape: readonly [number, ...number[]], number: number): Batch => ({
  images: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, stream(5, 'images', number).normal),
  shape,
  labels: new Int32Array(shape[0]),
  indices: new Int32Array(shape[0]),
});

/** Squared norms of the derivatives of all outputs with respect to each mask, by central differences. */
function byDifferences(model: OnnxModel, { images, shape }: Batch): number[] {
  const network = createNetwork(torch, model);
  const { channels } = network.coupling;
  const outputs = (mask: Float32Array) => {
    network.setMask(mask);
    return torch.scope(() => torch.values(torch.noGrad(() => network.soft(torch.tensor(images, shape), false)[0])));
  };
  const y = outputs(new Float32Array(channels).fill(1));
  const mean = y.reduce((a, b) => a + b) / y.length;
  const deviation = Math.sqrt(y.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (y.length - 1));
  return Array.from({ length: channels }, (_, channel) => {
    const [more, less] = [1.01, 0.99].map(w =>
      outputs(new Float32Array(channels).fill(1).fill(w, channel, channel + 1)),
    );
    return more.reduce((sum, value, i) => sum + ((value - less[i]) / 0.02 / deviation) ** 2, 0);
  });
}

test('it is the squared norm of the derivative of the outputs, as differences give it', () => {
  const model = buildNetwork('mlp-12', { classes: 5, channels: 1, size: [3, 3], seed: 3 });
  const batch = batchOf([6, 1, 3, 3], 0);
  // The same images under 400 directions: the error of the estimate is about 1 / sqrt(400).
  const flat = { ...batch, shape: [6, 9] };
  const found = sensitivity(torch, createNetwork(torch, model), Array(100).fill(flat), 1);
  const expected = byDifferences(model, flat);
  expect(found).toHaveLength(12);
  for (const [channel, value] of expected.entries()) {
    // Channels that no image wakes have none.
    expect(Math.abs(found[channel] / 400 - value), `channel ${channel}`).toBeLessThanOrEqual(0.3 * value + 1e-12);
  }
});

test('a file and the same function with a normalisation behind its convolutions have the same', () => {
  const model = buildNetwork('lenet5', { classes: 10, channels: 1, size: [28, 28], seed: 1 });
  const batches = [0, 1].map(number => batchOf([16, 1, 28, 28], number));
  const renormalised = withNormalisation(torch, model, batches)!;
  expect(renormalised.convolutions).toBeGreaterThan(0);
  const [plain, other] = [model, renormalised.model].map(each =>
    sensitivity(torch, createNetwork(torch, each), batches, 2),
  );
  expect(other).toHaveLength(plain.length);
  const largest = Math.max(...plain);
  for (const [channel, value] of plain.entries()) {
    expect(Math.abs(other[channel] - value), `channel ${channel}`).toBeLessThan(1e-3 * largest);
  }
});
