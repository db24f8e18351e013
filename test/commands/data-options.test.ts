import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openData } from '../../src/commands/data-options.ts';
import { writeImages } from './images.ts';
import { refusal, scratch } from './support.ts';

const place = scratch();
const folder = join(place, 'photos');
const before = process.env.XDG_CACHE_HOME;
beforeAll(async () => {
  process.env.XDG_CACHE_HOME = join(place, 'cache');
  await writeImages(folder, { train: { red: 6, blue: 6 }, val: { red: 1, blue: 1 } });
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
});

const context = { signal: new AbortController().signal, say: () => {}, onEvent: () => {}, setup: true };
const open = (inputShape?: (number | null)[], options = {}) =>
  openData({ data: folder, ...options }, context, { inputShape });

test.each([
  ['one channel last', [null, 28, 28, 1], [28, 28]],
  ['three channels last', [null, 20, 28, 3], [20, 28]],
  ['one channel first', [null, 1, 28, 20], [28, 20]],
  ['three channels first', [null, 3, 28, 20], [28, 20]],
  ['a width of three', [null, 3, 28, 3], [28, 3]],
])('a folder is decoded to the size of the input: %s', async (_, shape, size) => {
  const { dataset, preprocessing, notes } = await open(shape);
  expect(dataset.shape).toEqual([3, ...size]);
  expect(preprocessing.size).toEqual(size);
  expect(notes.join()).not.toContain('resized');
});

// What a run states when it goes on is the preprocessing that it was begun with.
test.each([
  ['the height is given', [null, 3, 32, null], [32, 16]],
  ['the width is given', [null, 3, null, 12], [16, 12]],
  ['neither is', [null, 3, null, null], [16, 16]],
  ['the height is given, channels last', [null, 32, null, 3], [32, 16]],
  ['the file does not say', undefined, [16, 16]],
])('an open input gets the same images at the start and on resume: %s', async (_, shape, size) => {
  const begun = await open(shape);
  expect([begun.dataset.shape, begun.preprocessing.size]).toEqual([[3, ...size], size]);
  const { labelOrder: _order, ...stated } = begun.preprocessing;
  const resumed = await open(undefined, stated);
  expect(resumed.dataset.shape).toEqual(begun.dataset.shape);
  expect(resumed.dataset.fingerprint).toBe(begun.dataset.fingerprint);
});

test('a size that is stated goes first; images that differ need one where the input is open', async () => {
  expect((await open([null, 3, null, 16], { size: [8, 16] })).dataset.shape).toEqual([3, 8, 16]);
  const mixed = join(place, 'mixed');
  await writeImages(mixed, { '': { red: 2, blue: 2 } });
  const sharp = (await import('sharp')).default;
  await sharp({ create: { width: 9, height: 20, channels: 3, background: 'red' } }).toFile(
    join(mixed, 'red/other.png'),
  );
  const error = await refusal(open([null, 3, 32, null], { data: mixed }));
  expect([error.code, error.exitCode]).toEqual(['E_DATA_IMAGE_SIZE', 2]);
});
