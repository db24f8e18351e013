import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { command as trainCommand } from '../../src/commands/train.ts';
import { GraphBuilder, readModel, writeModel } from '../../src/onnx/index.ts';
import { stream } from '../../src/util/random.ts';
import { refusal, scratch } from './support.ts';

vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return {
    measureLatency: (paths: string[], { shapes }: { shapes?: Record<string, number[]> }) =>
      measureLatency(paths, { runs: 1, batches: [1], threads: [1], shapes }),
  };
});

const prune = callable(pruneCommand);
const train = callable(trainCommand);
const images = {
  data: 'synthetic:classes=4,size=16,train=128,validation=32,test=64',
  batch: 16,
  threads: 1,
  steps: 6,
};

/** A network under construction: weights are drawn, each layer is named. */
class Net {
  readonly g = new GraphBuilder();
  #random = stream(3, 'odd networks');

  weight(name: string, ...dims: number[]): string {
    const count = dims.reduce((a, b) => a * b, 1);
    const scale = Math.sqrt((dims.length > 1 ? dims[0] : 1) / count);
    return this.g.initializer(
      name,
      Float32Array.from({ length: count }, () => this.#random.normal() * scale),
      dims,
    );
  }

  constant(name: string, value: number, length: number): string {
    return this.g.initializer(name, new Float32Array(length).fill(value), [length]);
  }

  conv(x: string, name: string, out: number, into: number, group = 1): string {
    return this.g.node('Conv', [x, this.weight(`${name}.w`, out, into / group, 3, 3)], {
      group,
      pads: [1, 1, 1, 1],
    });
  }

  norm(x: string, name: string, channels: number): string {
    const vectors = [1, 0, 0, 1].map((value, i) => this.constant(`${name}.${i}`, value, channels));
    return this.g.node('BatchNormalization', [x, ...vectors]);
  }

  relu(x: string): string {
    return this.g.node('Relu', [x]);
  }

  linear(x: string, name: string, out: number, into: number, output?: string): string {
    const inputs = [x, this.weight(`${name}.w`, out, into), this.constant(`${name}.b`, 0, out)];
    return this.g.node('Gemm', inputs, { transB: 1 }, output ? { output } : {});
  }

  pooled(x: string): string {
    return this.g.node('Flatten', [this.g.node('GlobalAveragePool', [x])]);
  }

  written(shape: readonly (string | number)[] = ['N', 4]): string {
    this.g.output('logits', [...shape]);
    const path = join(scratch(), 'net.onnx');
    writeModel(this.g.model(), path);
    return path;
  }
}

const pruned = async (model: string, options: object) => {
  const out = join(scratch(), 'run');
  const result = (await prune({ ...images, model, out, ...options } as never)) as PruneResult;
  expect(result.certificate.passed, result.certificate.failure).toBe(true);
  expect(result.accuracy.onnx.correct).toBe(result.accuracy.hard.correct);
  return { result, out };
};
const dims = (path: string) =>
  Object.fromEntries(readModel(path).graph.initializers.map(({ name, dims }) => [name, dims.join('x')]));

test('rows as input: a trained file, its channels in the order of what the outputs depend on', async () => {
  const net = new Net();
  const x = net.relu(net.linear(net.g.input('input', ['N', 768]), 'a', 32, 768));
  net.linear(net.relu(net.linear(x, 'b', 32, 32)), 'c', 4, 32, 'logits');
  const model = net.written();
  const trained = join(scratch(), 'trained');
  await train({ ...images, model, untrained: true, steps: 40, precision: 'auto', out: trained });
  const { result } = await pruned(join(trained, 'trained.onnx'), { flops: 0.5 });
  expect(result.trainedStart).toBe(true);
});

describe('class scores of four axes, [N, C, 1, 1]', () => {
  const model = () => {
    const net = new Net();
    const x = net.relu(net.conv(net.g.input('input', ['N', 3, 16, 16]), 'a', 16, 3));
    const y = net.relu(net.conv(x, 'b', 16, 16));
    net.g.node('GlobalAveragePool', [net.conv(y, 'head', 4, 16)], {}, { output: 'logits' });
    return net.written(['N', 4, 1, 1]);
  };

  test('learn labels', () => pruned(model(), { flops: 0.5, untrained: true }));

  test('imitate; with the biases that folding adds the budget is met from below, of what the file had', async () => {
    const { result } = await pruned(model(), { bytes: 0.5, labels: 'none', finishFrom: 1 });
    expect(result.accuracy.hard.accuracy).toBeLessThanOrEqual(1);
    expect(result.bytes.before).toBe(4 * (16 * 27 + 16 * 144 + 4 * 144));
    expect(result.bytes.ratio).toBeLessThanOrEqual(0.5);
    expect(result.trained.frozen).toEqual([]);
  });
});

test.each(['flops', 'params'])('an image size that the file leaves open is that of the images: %s', async budget => {
  const net = new Net();
  const x = net.relu(net.norm(net.conv(net.g.input('input', ['N', 3, 'H', 'W']), 'a', 16, 3), 'na', 16));
  const y = net.relu(net.norm(net.conv(x, 'b', 16, 16), 'nb', 16));
  net.linear(net.pooled(y), 'fc', 4, 16, 'logits');
  const { result } = await pruned(net.written(), { [budget]: 0.5, untrained: true, size: [16, 16] });
  expect(result.macs.before).toBe(256 * 16 * 9 * (3 + 16) + 64);
  expect(result.macs.ratio).toBeLessThan(0.7);
});

test('cut.onnx has the widths of pruned.onnx where convolutions lose whole groups', async () => {
  const net = new Net();
  let x = net.relu(net.norm(net.conv(net.g.input('input', ['N', 3, 16, 16]), 'a', 16, 3), 'na', 16));
  x = net.relu(net.norm(net.conv(x, 'b', 16, 16, 4), 'nb', 16));
  x = net.relu(net.norm(net.conv(x, 'c', 16, 16), 'nc', 16));
  net.linear(net.pooled(x), 'fc', 4, 16, 'logits');
  const options = { flops: 0.5, untrained: true, grouped: 'whole', finishFrom: 0.7 };
  const { out } = await pruned(net.written(), options);
  expect(dims(join(out, 'cut.onnx'))).toEqual(dims(join(out, 'pruned.onnx')));
});

test('a normalisation of rows behind a split: the file answers as the network that was trained', async () => {
  const net = new Net();
  const x = net.linear(net.g.node('Flatten', [net.g.input('input', ['N', 3, 16, 16])]), 'a', 32, 768);
  const halves = net.g.node('Split', [x], { axis: 1 }, { outputs: 2 });
  const [a, b] = halves.map((half, i) => net.relu(net.norm(half, `n${i}`, 16)));
  net.linear(net.g.node('Add', [a, b]), 'fc', 4, 16, 'logits');
  const { result } = await pruned(net.written(), { flops: 0.7, untrained: true, steps: 30 });
  expect(result.engine).toEqual({ differing: 0, images: 64 });
});

test('a vector of another length than the channels is refused by name', async () => {
  const net = new Net();
  const x = net.conv(net.g.input('input', ['N', 3, 16, 16]), 'a', 16, 3);
  net.linear(net.pooled(net.norm(x, 'bad', 4)), 'fc', 4, 16, 'logits');
  const error = await refusal(train({ ...images, model: net.written(), untrained: true, out: join(scratch(), 'run') }));
  expect(error).toMatchObject({ code: 'E_GRAPH', what: expect.stringMatching(/4 numbers in 'bad.0' for 16 channels/) });
});

test('nothing to imitate: refused before anything runs', async () => {
  const net = new Net();
  net.linear(net.pooled(net.conv(net.g.input('input', ['N', 3, 16, 16]), 'a', 16, 3)), 'fc', 4, 16, 'logits');
  const model = net.written();
  const given = { ...images, model, labels: 'none' as const };
  for (const [run, why] of [
    [train({ ...given, out: join(scratch(), 'a') }), /belongs to prune/],
    [prune({ ...given, untrained: true, flops: 0.5, out: join(scratch(), 'b') }), /untrained/],
  ] as const)
    expect(await refusal(run)).toMatchObject({ code: 'E_OPTION', what: expect.stringMatching(why) });
});
