import { describe, expect, test } from 'vitest';
import type { Shape } from '../../src/graph/operator.ts';
import { matchBlocks } from '../../src/ops/families/regroup.ts';

const blocks = (from: Shape, to: Shape) =>
  matchBlocks(from, to)
    ?.map(({ inputs, outputs }) => `${inputs}-${outputs}`)
    .join(' ') ?? null;

describe('shapes are matched block by block', () => {
  test.each<[string, Shape, Shape, string]>([
    ['nothing changes', ['N', 8, 4], ['N', 8, 4], '0-0 1-1 2-2'],
    ['flatten', ['N', 512, 7, 7], ['N', 25_088], '0-0 1,2,3-1'],
    ['split into heads', ['N', 16, 64], ['N', 16, 4, 16], '0-0 1-1 2-2,3'],
    ['merge heads', ['N', 16, 4, 16], ['N', 16, 64], '0-0 1-1 2,3-2'],
    ['an axis of 1 in front', [8, 4], [1, 8, 4], '0-0,1 1-2'],
    ['an axis of 1 less in front', [1, 8, 4], [8, 4], '0,1-0 2-1'],
    ['axes of 1 at the end', [8, 4], [8, 4, 1, 1], '0-0 1-1 -2 -3'],
    ['a batch of 1 stays apart', [1, 8, 4], [1, 32], '0-0 1,2-1'],
    ['both sides of a block have several axes', [1, 8, 64], [1, 4, 16, 8], '0-0 1,2-1,2,3'],
    ['a scalar', [], [1], '-0'],
  ])('%s', (_, from, to, expected) => expect(blocks(from, to)).toBe(expected));

  test('shapes of different element counts do not match', () => {
    expect(blocks([2, 3], [7])).toBeNull();
    expect(blocks(['N', 3], [1, 3])).toBeNull();
  });
});
