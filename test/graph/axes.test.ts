import { describe, expect, test } from 'vitest';
import { broadcastShapes, normalAxis, product } from '../../src/graph/axes.ts';
import { UnknownShape } from '../../src/graph/operator.ts';

test.each([
  [0, 4, 0],
  [3, 4, 3],
  [-1, 4, 3],
  [-4, 4, 0],
])('axis %i of %i is %i', (axis, rank, expected) => expect(normalAxis(axis, rank)).toBe(expected));

describe('broadcast', () => {
  test.each([
    [
      [[2, 3], [3]],
      [2, 3],
    ],
    [
      [
        [2, 1, 4],
        [5, 1],
      ],
      [2, 5, 4],
    ],
    [[[1], []], [1]],
    [
      [
        ['N', 3],
        [1, 1],
      ],
      ['N', 3],
    ],
    [
      [
        ['N', 3],
        [7, 3],
      ],
      [7, 3],
    ],
    [
      [
        ['N', 3],
        ['M', 3],
      ],
      ['N', 3],
    ],
  ])('%j gives %j', (shapes, expected) => expect(broadcastShapes(...shapes)).toEqual(expected));
});

test('a product with a symbol is unknown', () => {
  expect(product([2, 3, 4])).toBe(24);
  expect(product([])).toBe(1);
  expect(() => product([2, 'N'])).toThrow(UnknownShape);
});
