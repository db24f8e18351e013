import { describe, expect, test } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { costOf } from '../../src/prune/cost.ts';
import { couplingOf, type Net, netOf } from './nets.ts';

function macs(model: OnnxModel): number {
  const { full, unknown } = costOf(couplingOf(model), 'macs');
  expect(unknown).toEqual([]);
  return full;
}

const reshape = (g: Net, x: string, ...to: number[]) => g.op('Reshape', [x, g.ints(g.unique('to'), ...to)]);
const product = (g: Net, x: string, from: number, to: number) =>
  g.op('MatMul', [x, g.weight(g.unique('w'), [from, to])]);

describe('what is merged into the batch is counted for one image', () => {
  const frames = (batch: number | string) =>
    netOf((g, x) => reshape(g, g.conv(reshape(g, x, -1, 3, 4, 4), 3, 8), -1, 5, 8, 4, 4), {
      shape: [batch, 5, 3, 4, 4],
    });
  test.each([1, 2, 'N'])('frames of a batch of %s', batch => {
    expect(macs(frames(batch))).toBe(5 * 8 * 4 * 4 * 3 * 9);
  });
  test('transposed convolution of frames', () => {
    const model = netOf(
      (g, x) => g.op('ConvTranspose', [reshape(g, x, -1, 3, 4, 4), g.weight('t', [3, 6, 2, 2])], { strides: [2, 2] }),
      { shape: ['N', 5, 3, 4, 4] },
    );
    expect(macs(model)).toBe(5 * 3 * 4 * 4 * 6 * 4);
  });
  test('regions of one image', () => {
    const model = netOf(
      (g, x) => {
        const boxes = g.initializer('boxes', new Float32Array(7 * 4), [7, 4]);
        const images = g.initializer('images', new BigInt64Array(7), [7]);
        const regions = g.op('RoiAlign', [x, boxes, images], { output_height: 2, output_width: 2 });
        return g.conv(regions, 3, 6, { kernel: 1 });
      },
      { shape: [1, 3, 8, 8] },
    );
    expect(macs(model)).toBe(7 * 2 * 2 * 3 * 6);
  });
});

describe('a batch of fixed length', () => {
  const rows = (between: (g: Net, x: string) => string) => netOf(between, { shape: [4, 10, 6] });
  test.each<[string, (g: Net, x: string) => string]>([
    ['on an axis of its own', (g, x) => product(g, x, 6, 8)],
    ['merged with others', (g, x) => reshape(g, product(g, reshape(g, x, 40, 6), 6, 8), 4, 10, 8)],
    ['behind others', (g, x) => product(g, g.op('Transpose', [x], { perm: [1, 0, 2] }), 6, 8)],
    [
      'merged behind others',
      (g, x) => product(g, reshape(g, g.op('Transpose', [x], { perm: [1, 0, 2] }), 40, 6), 6, 8),
    ],
  ])('%s', (_, between) => expect(macs(rows(between))).toBe(10 * 6 * 8));
  test('split up by windows', () => {
    const windows = (g: Net, x: string) => {
      const apart = g.op('Transpose', [reshape(g, x, 4, 2, 5, 2, 3)], { perm: [1, 0, 3, 2, 4] });
      return product(g, reshape(g, apart, 16, 5, 3), 3, 8);
    };
    expect(macs(rows(windows))).toBe(4 * 5 * 3 * 8);
  });
});

describe('axis 0 that is no batch', () => {
  test('steps of a recurrence', () => {
    const model = netOf(
      (g, x) => {
        const inputs = [product(g, x, 3, 5), g.weight('W', [1, 6, 5]), g.weight('R', [1, 6, 6])];
        g.node('RNN', inputs, { hidden_size: 6 }, { name: 'rnn', outputs: ['y'] });
        return 'y';
      },
      { shape: [7, 1, 3] },
    );
    expect(macs(model)).toBe(7 * (3 * 5 + 6 * 5 + 6 * 6));
  });
  test('channels of an image without a batch', () => {
    const model = netOf(
      (g, x) => {
        const y = g.conv(g.op('Unsqueeze', [x, g.ints('zero', 0)]), 3, 3, { kernel: 1 });
        return product(g, g.op('Squeeze', [y, g.ints('none', 0)]), 8, 5);
      },
      { shape: [3, 8, 8] },
    );
    expect(macs(model)).toBe(3 * 3 * 64 + 3 * 8 * 8 * 5);
  });
});
