import { expect, test } from 'vitest';
import { didYouMean, nearest } from '../../src/util/nearest.ts';

test.each([
  ['trian', ['train', 'prune'], 'train'],
  ['--buget', ['--budget', '--batch'], '--budget'],
  ['RESNET20', ['resnet8', 'resnet20'], 'resnet20'],
  ['xyzzy', ['train', 'prune'], undefined],
  ['a', ['b'], 'b'],
])('%s among %j', (word, words, expected) => {
  expect(nearest(word, words)).toBe(expected);
});

test('without a near word all are named', () => {
  expect(didYouMean('xyzzy', ['train', 'prune'])).toBe('There are: train, prune.');
  expect(didYouMean('trian', ['train', 'prune'])).toBe('Did you mean train?');
});
