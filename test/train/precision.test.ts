import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { createNetwork } from '../../src/train/network.ts';
import { classification } from '../../src/train/objective.ts';
import { describeProbe, probePrecision } from '../../src/train/precision.ts';
import { stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

const model = buildNetwork('resnet8', { classes: 4, channels: 3, size: [16, 16], seed: 1, width: 8 });
const random = stream(2, 'images');
const shape = [8, 3, 16, 16];
const images = Float32Array.from({ length: 8 * 3 * 256 }, () => random.normal());
const labels = BigInt64Array.from({ length: 8 }, (_, i) => BigInt(i % 4));

test('bfloat16 gives float32 outputs and gradients that agree to its eight bits; evaluation stays in float32', () => {
  torch.scope(() => {
    const x = torch.tensor(images, shape);
    const target = { labels: torch.tensor(labels, [8]), teacher: null };
    const { loss } = classification(torch);
    const [plain, half] = (['float32', 'bfloat16'] as const).map(precision => {
      const network = createNetwork(torch, model, { precision });
      const before = torch.values(network.dense(x, false)[0]);
      const outputs = network.dense(x, true);
      const gradients = torch.grad(loss(outputs, target), network.parameters);
      return { before, output: torch.values(outputs[0]), gradients: gradients.map(g => torch.values(g!)) };
    });
    expect(half.before).toEqual(plain.before);
    const cosine = (a: Float32Array, b: Float32Array) =>
      a.reduce((sum, value, i) => sum + value * b[i], 0) / Math.hypot(...a) / Math.hypot(...b);
    expect(cosine(half.output, plain.output)).toBeGreaterThan(0.999);
    expect(half.output).not.toEqual(plain.output);
    for (const [i, gradient] of half.gradients.entries()) {
      expect(cosine(gradient, plain.gradients[i]), String(i)).toBeGreaterThan(0.98);
    }
  });
});

test('the probe times both, chooses one by its times, and leaves nothing behind', () => {
  const before = torch.liveTensors();
  const batch = { images, shape, labels: Int32Array.from(labels, Number), indices: new Int32Array(8) };
  const probe = probePrecision(torch, model, batch);
  const { float32, bfloat16 } = probe.milliseconds;
  expect(Math.min(float32, bfloat16)).toBeGreaterThan(0);
  expect(probe.precision).toBe(bfloat16 < 0.9 * float32 ? 'bfloat16' : 'float32');
  expect(describeProbe(probe)).toContain(probe.precision);
  expect(torch.liveTensors()).toBe(before);
});
