import { describe, expect, test } from 'vitest';
import type { Shape } from '../../src/graph/operator.ts';
import { blocksOf } from '../../src/prune/regroup.ts';
import { Slices } from '../../src/prune/slices.ts';

function matched(from: Shape, to: Shape) {
  const slices = new Slices({
    rankOf: () => 0,
    dimOf: ({ value, axis }) => (value === 'from' ? from : to)[axis],
    isConstant: () => false,
  });
  const refs = (value: string, shape: Shape) => shape.map((_, axis) => ({ value, axis }));
  return blocksOf(slices, refs('from', from), refs('to', to));
}

const blocks = (from: Shape, to: Shape) =>
  matched(from, to)
    ?.map(({ inputs, outputs }) => `${inputs.map(({ axis }) => axis)}-${outputs.map(({ axis }) => axis)}`)
    .join(' ') ?? null;

describe('shapes are matched block by block', () => {
  test.each<[string, Shape, Shape, string]>([
    ['nothing changes', ['N', 8, 4], ['N', 8, 4], '1-1 2-2'],
    ['flatten', ['N', 512, 7, 7], ['N', 25_088], '1,2,3-1'],
    ['split into heads', ['N', 16, 64], ['N', 16, 4, 16], '1-1 2-2,3'],
    ['merge heads', ['N', 16, 4, 16], ['N', 16, 64], '1-1 2,3-2'],
    ['axes of 1 are left out', [1, 8, 4, 1], [8, 1, 4], '1-0 2-2'],
    ['a batch of 1 stays apart', [1, 8, 4], [1, 32], '1,2-1'],
    ['both sides of a block have several axes', [1, 8, 64], [1, 4, 16, 8], '1,2-1,2,3'],
    ['heads out of a symbolic batch', [17, 'batch·4', 12], ['17·batch', 48], '0-0 1,2-1'],
    ['single indices go together', [1], [1, 1], '0-0'],
  ])('%s', (_, from, to, expected) => expect(blocks(from, to)).toBe(expected));

  test('lengths of different products do not match', () => expect(blocks([2, 3], [7])).toBeNull());
});

test('an axis that is too long for slices is matched by its length', () => {
  const long = { length: 2 ** 18 };
  const dims: Record<string, readonly (number | typeof long)[]> = { from: [64, 512, 512], to: [64, long] };
  const slices = new Slices({
    rankOf: value => dims[value].length,
    dimOf: ({ value, axis }) => dims[value][axis],
    isConstant: () => false,
  });
  const refs = (value: string) => dims[value].map((_, axis) => ({ value, axis }));
  const found = blocksOf(slices, refs('from'), refs('to'));
  expect(found?.map(({ inputs, outputs }) => [inputs.length, outputs.length])).toEqual([
    [1, 1],
    [2, 1],
  ]);
});

test('the digits of a block, from slow to fast', () => {
  const [{ digits }] = matched([8, 64], [4, 16, 8])!;
  expect(digits).toEqual([
    { length: 4, input: { axis: 0, stride: 2 }, output: { axis: 0, stride: 1 } },
    { length: 2, input: { axis: 0, stride: 1 }, output: { axis: 1, stride: 8 } },
    { length: 8, input: { axis: 1, stride: 8 }, output: { axis: 1, stride: 1 } },
    { length: 8, input: { axis: 1, stride: 1 }, output: { axis: 2, stride: 1 } },
  ]);
  expect(matched([4, 6], [6, 4])![0].digits).toBeNull();
});
