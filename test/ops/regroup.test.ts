import { describe, expect, test } from 'vitest';
import type { Shape } from '../../src/graph/operator.ts';
import { isAligned, laidOut } from '../../src/ops/families/regroup.ts';

describe('symbols stand in the same places among the factors', () => {
  test.each<[string, Shape, Shape, boolean]>([
    ['nothing but numbers', [2, 3, 4], [6, 4], true],
    ['a batch of its own', ['batch', 16, 64], ['batch', 1024], true],
    ['heads merged into the batch', ['batch', 4, 16], ['batch·4', 16], true],
    ['the batch split off again', [17, 'batch·4', 12], ['17·batch', 48], true],
    ['numbers of other products', ['batch', 16], ['batch', 17], false],
    ['another order', [4, 'batch'], ['batch', 4], false],
    ['another symbol', ['batch', 4], ['N', 4], false],
  ])('%s', (_, from, to, expected) => expect(isAligned(from, to)).toBe(expected));
});

describe('lengths are written in the order of the factors', () => {
  test.each<[string, Shape, Shape, Shape]>([
    ['numbers stay', [48], [4, 12], [48]],
    ['a product that was computed the other way round', ['4·batch', 12], ['batch', 4, 12], ['batch·4', 12]],
    ['a part of an axis', ['16·batch', 7, 7, 24], ['batch', 28, 28, 24], ['batch·16', 7, 7, 24]],
    ['what was merged before', ['batch·17', 48], [17, 'batch·4', 12], ['17·batch', 48]],
    ['what does not come out', ['batch', 4], [4, 'batch'], ['batch', 4]],
  ])('%s', (_, lengths, from, expected) => expect(laidOut(lengths, from)).toEqual(expected));
});
