import { describe, expect, test } from 'vitest';
import { buildNetwork, networks } from '../../src/zoo/index.ts';
import golden from './golden.json' with { type: 'json' };
import { asPublished, parametersOf } from './models.ts';
import { published } from './published.ts';

/** Parameters without building 140 million random numbers. */
const countOf = (name: string, shortcut?: 'A' | 'B') =>
  parametersOf(buildNetwork(name, { ...asPublished(name), shortcut, initialise: false }));

describe('parameters are the published ones', () => {
  for (const [name, figures] of Object.entries(published))
    for (const { params, shortcut, source } of figures)
      if (params !== undefined)
        test(`${name} ${shortcut ?? ''} (${source})`, () => expect(countOf(name, shortcut)).toBe(params));
});

describe("parameters are those of PyTorch's modules", () => {
  for (const [key, { params }] of Object.entries(golden.counts)) {
    const [name, shortcut] = key.split(' ') as [string, 'A' | undefined];
    test(key, () => expect(countOf(name, shortcut)).toBe(params));
  }
});

test('PyTorch counts the published figures too', () => {
  const counts: Record<string, { params: number; macs: number }> = golden.counts;
  for (const [name, figures] of Object.entries(published))
    for (const { shortcut, params, macs } of figures) {
      const counted = counts[shortcut === 'A' ? `${name} A` : name];
      expect(counted, name).toMatchObject({ ...(params && { params }), ...(macs && { macs }) });
    }
});

test('every listed network was counted by PyTorch', () => {
  expect(networks.map(({ name }) => name).filter(name => !(name in golden.counts))).toEqual([]);
});

test('a CIFAR ResNet of 6n+2 layers with shortcut B has the parameters of the closed formula', () => {
  for (const [n, width, channels, classes] of [
    [1, 16, 3, 10],
    [2, 5, 1, 3],
    [4, 8, 4, 100],
  ]) {
    const stages = [width, 2 * width, 4 * width];
    const norm = (c: number) => 2 * c;
    const stage = (c: number, i: number) => {
      const before = i ? stages[i - 1] : c;
      const projection = i ? before * c + norm(c) : 0;
      return 9 * before * c + (2 * n - 1) * 9 * c * c + 2 * n * norm(c) + projection;
    };
    const expected =
      9 * channels * width + norm(width) + stages.map(stage).reduce((a, b) => a + b) + (4 * width + 1) * classes;
    const model = buildNetwork(`resnet${6 * n + 2}`, { classes, channels, size: [32, 32], seed: 0, width });
    expect(parametersOf(model)).toBe(expected);
  }
});
