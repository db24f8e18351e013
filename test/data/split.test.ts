import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concatenate, holdOut, memorySplit } from '../../src/data/split.ts';

test('every class gives its share, none its last image, and each image is in exactly one part', () =>
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 0.99, noNaN: true }),
      (list, fraction) => {
        const labels = Int32Array.from(list);
        const { rest, held } = holdOut(labels, fraction);
        expect([...rest, ...held].sort((a, b) => a - b)).toEqual([...labels.keys()]);
        const share = (label: number) => Math.round(list.filter(other => other === label).length * fraction);
        const tiny = list.every(label => share(label) === 0);
        for (const label of new Set(list)) {
          const size = list.filter(other => other === label).length;
          const given = [...held].filter(i => labels[i] === label).length;
          expect(given).toBe(Math.min(size - 1, tiny ? 1 : share(label)));
        }
      },
    ),
  ));

test('classes of 500 images give exactly a tenth each', () => {
  const labels = Int32Array.from({ length: 5000 }, (_, i) => i % 10);
  const { held } = holdOut(labels, 0.1);
  const counts = new Int32Array(10);
  for (const i of held) counts[labels[i]]++;
  expect([...counts]).toEqual(Array(10).fill(50));
});

test('joined splits give the images of their parts', () => {
  const part = (first: number, n: number) =>
    memorySplit(
      Uint8Array.from({ length: n }, (_, i) => first + i),
      Int32Array.from({ length: n }, () => first),
      [1, 1, 1],
      ['a'],
    );
  const all = concatenate([part(10, 3), part(20, 1), part(30, 2)]);
  expect(Array.from({ length: 6 }, (_, i) => (all.image(i) as Uint8Array)[0])).toEqual([10, 11, 12, 20, 30, 31]);
  expect([...all.labels]).toEqual([10, 10, 10, 20, 30, 30]);
});
