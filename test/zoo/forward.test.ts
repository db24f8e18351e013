import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../src/onnx/build.ts';
import type { OnnxModel } from '../../src/onnx/model.ts';
import { openModel } from '../../src/runtime/session.ts';
import { buildNetwork, type NetworkOptions, networks } from '../../src/zoo/index.ts';
import { adaptiveAveragePool } from '../../src/zoo/layers.ts';
import golden from './golden.json' with { type: 'json' };
import { asPublished, filled, floatsOf, formula } from './models.ts';

async function run(model: OnnxModel, shape: readonly number[], input: Float32Array) {
  const session = await openModel(model);
  try {
    const [output] = session.outputs;
    const results = await session.run({ input: { type: 'float32', shape, data: input } });
    return { name: output.name, ...results[output.name], data: results[output.name].data as Float32Array };
  } finally {
    await session.dispose();
  }
}

const inputOf = (shape: readonly number[]) =>
  Float32Array.from(
    formula(
      shape.reduce((a, b) => a * b),
      0,
    ),
  );

/** Largest difference, relative to the largest expected value. */
function relativeError(actual: ArrayLike<number>, expected: readonly number[]): number {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, i) => Math.abs(actual[i] - value))) / scale;
}

describe('with the same parameters, logits in ONNX Runtime equal the PyTorch module of the same parameter names', () => {
  for (const { name, options, parameters, logits } of golden.forward) {
    const { channels, size, classes } = options;
    test(`${name} ${JSON.stringify(options)}`, async () => {
      const model = buildNetwork(name, { ...(options as unknown as NetworkOptions), seed: 0 });
      expect(Object.fromEntries(floatsOf(model).map(({ name, dims }) => [name, dims]))).toEqual(parameters);
      const shape = [2, channels, ...size];
      const output = await run(filled(model), shape, inputOf(shape));
      expect(output.shape).toEqual([2, classes]);
      expect(relativeError(output.data, logits)).toBeLessThan(1e-4);
    });
  }
});

describe("adaptive average pooling to 7x7 equals PyTorch's", () => {
  for (const { size, values } of golden.adaptive)
    test(size.join('x'), async () => {
      const graph = new GraphBuilder({ name: 'pool', opset: 17, irVersion: 8 });
      const x = { value: graph.input('input', ['N', 2, ...size]), shape: [2, ...size] };
      const y = adaptiveAveragePool({ graph, seed: 0, initialise: true }, x, 'avgpool', 7);
      expect(y.shape).toEqual([2, 7, 7]);
      graph.output(y.value, ['N', 2, 7, 7]);
      const shape = [1, 2, ...size];
      expect(relativeError((await run(graph.model(), shape, inputOf(shape))).data, values)).toBeLessThan(1e-5);
    });
});

describe('a fresh network gives finite logits that depend on the image', () => {
  const counts: Record<string, { params: number }> = golden.counts;
  for (const { name } of networks.filter(({ name }) => counts[name].params < 10e6))
    test(name, async () => {
      const options = asPublished(name);
      const shape = [2, options.channels, ...options.size];
      const output = await run(buildNetwork(name, options), shape, inputOf(shape));
      expect(output.name).toBe('logits');
      expect(output.shape).toEqual([2, options.classes]);
      expect(output.data.every(Number.isFinite)).toBe(true);
      expect(output.data.slice(0, options.classes)).not.toEqual(output.data.slice(options.classes));
    });
});
