import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Preprocessing } from '../../src/data/dataset.ts';
import {
  defaultPreprocessing,
  fromMetadata,
  readLabelOrder,
  resolvePreprocessing,
  toMetadata,
} from '../../src/data/preprocess.ts';
import { compilePreprocessing, labelMap } from '../../src/data/preprocessor.ts';
import { bilinear, enlargeWindow } from '../../src/data/resize.ts';
import golden from './golden.json' with { type: 'json' };

const folder = mkdtempSync(join(tmpdir(), 's2h-preprocess-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const pattern = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 37 + 11) % 256);
const base: Preprocessing = {
  size: null,
  scale: 1 / 255,
  mean: [0.4914, 0.4822, 0.4465],
  std: [0.247, 0.2435, 0.2616],
  color: 'rgb',
  layout: 'nchw',
  labelOrder: null,
};
const run = (p: Preprocessing, shape: [number, number, number]) => {
  const preprocessor = compilePreprocessing(p, shape);
  const out = new Float32Array(preprocessor.length);
  preprocessor.write(pattern(shape[0] * shape[1] * shape[2]), out, 0);
  return out;
};
const close = (found: ArrayLike<number>, expected: readonly number[], limit: number) => {
  expect(found.length).toBe(expected.length);
  const worst = expected.reduce((most, x, i) => Math.max(most, Math.abs(x - found[i])), 0);
  expect(worst).toBeLessThanOrEqual(limit);
};

describe('pixels', () => {
  test('are normalised as PyTorch does', () => close(run(base, [3, 4, 5]), golden.normalised, 1e-6));

  test('raw, BGR and NHWC as PyTorch gives them', () =>
    close(
      run(
        { ...base, scale: 1, mean: [103.94, 116.78, 123.68], std: [1, 1, 1], color: 'bgr', layout: 'nhwc' },
        [3, 4, 5],
      ),
      golden.bgrRawNhwc,
      1e-4,
    ));

  test('turn grey as in Pillow', () =>
    close(run({ ...base, scale: 1, mean: [0], std: [1], color: 'gray' }, [3, 4, 5]), golden.luma, 0));

  test('of grey images are repeated for a network with three channels', () => {
    const plain = { ...base, scale: 1, mean: [0, 1, 2], std: [1, 1, 2] };
    expect([...run(plain, [1, 1, 2])]).toEqual([11, 48, 10, 47, 4.5, 23]);
  });

  test('are resized as F.interpolate does, rounded', () => {
    close(bilinear([7, 7], [8, 8])(pattern(49), 1, new Uint8Array(64)), golden.up, 0.5 + 1e-4);
    close(bilinear([5, 7], [8, 3])(pattern(70), 2, new Uint8Array(48)), golden.mixed, 0.5 + 1e-4);
    const window = { top: 2, left: 1, height: 3, width: 5 };
    close(enlargeWindow(pattern(48), [1, 6, 8], window, new Uint8Array(48)), golden.window, 0.5 + 1e-4);
  });

  test('are written at the place asked for, in the size asked for', () => {
    const preprocessor = compilePreprocessing({ ...base, size: [8, 6] }, [3, 4, 5]);
    expect([preprocessor.shape, preprocessor.length]).toEqual([[3, 8, 6], 144]);
    const out = new Float32Array(150).fill(-9);
    preprocessor.write(new Uint8Array(60), out, 3);
    expect([out[2], out[147]]).toEqual([-9, -9]);
    expect(out[3]).toBeCloseTo(-0.4914 / 0.247, 6);
  });

  test('with other numbers of means than channels are refused', () =>
    expect(() => compilePreprocessing({ ...base, mean: [0.5] }, [3, 4, 5])).toThrow(
      '3 channels, but there are 1 means',
    ));
});

describe('label order', () => {
  const classes = ['cat', 'dog', 'eel'];
  test('maps class indices to outputs', () =>
    expect([...labelMap(classes, ['dog', 'eel', 'cat'])!]).toEqual([2, 0, 1]));
  test('that changes nothing needs no map', () => expect(labelMap(classes, classes)).toBe(null));
  test('of another length names both counts', () =>
    expect(() => labelMap(classes, ['dog', 'cat'])).toThrow('The label order has 2 names, the data set 3 classes.'));
  test('with another name names it', () =>
    expect(() => labelMap(classes, ['dog', 'cat', 'elk'])).toThrow(
      "lacks 'eel' of the data set, and has 'elk' instead",
    ));
  test('with a name twice is refused', () => expect(() => labelMap(['a', 'b'], ['a', 'a'])).toThrow("lacks 'b'"));
  test('comes from a file of lines or a JSON array', () => {
    expect(readLabelOrder(file('a.txt', 'dog\r\neel\ncat\n'))).toEqual(['dog', 'eel', 'cat']);
    expect(readLabelOrder(file('a.json', '["dog", "eel"]'))).toEqual(['dog', 'eel']);
  });
});

describe('what a network gets', () => {
  const dataset = { name: 'photos', shape: [3, 32, 32] as const, classes: ['a', 'b'], mean: base.mean, std: base.std };
  const grey = { ...dataset, name: 'mnist', shape: [1, 28, 28] as const, mean: [0.1307], std: [0.3081] };

  test("is the data set's own where nothing is stated", () => {
    const { preprocessing, origin } = resolvePreprocessing({ dataset, inputShape: [null, 3, 32, 32], outputs: 2 });
    expect(preprocessing).toEqual({ ...defaultPreprocessing(dataset), size: [32, 32] });
    expect(origin.mean).toBe('default');
  });

  test('comes from options first, then file, then metadata', () => {
    const { preprocessing, origin } = resolvePreprocessing({
      dataset,
      options: { mean: '0.5', scale: '1/255' },
      file: file('p.json', '{"std": [0.1, 0.2, 0.3], "mean": 0.4}'),
      metadata: { 's2h.preprocessing': '{"std": 0.7, "color": "bgr"}' },
    });
    expect(preprocessing).toMatchObject({ scale: 1 / 255, mean: [0.5, 0.5, 0.5], std: [0.1, 0.2, 0.3], color: 'bgr' });
    expect(origin).toMatchObject({ mean: 'option', std: 'file', color: 'metadata', layout: 'default' });
  });

  test('survives the way through metadata', () => {
    const p = { ...base, size: [8, 9], color: 'bgr', layout: 'nhwc', labelOrder: ['b', 'a'] } as const;
    expect(fromMetadata(toMetadata(p, ['a', 'b']))).toEqual(p);
    expect(fromMetadata(toMetadata(base, ['a', 'b']))!.labelOrder).toEqual(['a', 'b']);
    expect(fromMetadata({})).toBe(null);
    expect(() => fromMetadata({ 's2h.preprocessing': '{"scale": "much"}' })).toThrow('scale');
  });

  test('is 28x28 brought to 32x32 for a network of that size, with the grey channel repeated', () => {
    const { preprocessing, notes } = resolvePreprocessing({ dataset: grey, inputShape: [1, 3, 32, 32] });
    expect(preprocessing).toMatchObject({ size: [32, 32], color: 'rgb', mean: [0.1307, 0.1307, 0.1307] });
    expect(notes).toEqual([
      'Images of mnist are resized from 28x28 to 32x32 (bilinear).',
      'The grey channel is repeated three times.',
    ]);
  });

  test('is read as NHWC when only the last axis can be channels', () => {
    const { preprocessing } = resolvePreprocessing({ dataset, inputShape: [null, 64, 48, 3] });
    expect(preprocessing).toMatchObject({ layout: 'nhwc', size: [64, 48], color: 'rgb' });
  });

  test("is not shifted by the data set's mean where a scale is stated alone", () => {
    const { preprocessing, notes } = resolvePreprocessing({ dataset, options: { scale: 1 } });
    expect(preprocessing).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1] });
    expect(notes[0]).toContain('without mean and deviation');
  });

  test.each([
    ['an unknown field', { options: { means: [1] } }, 'means'],
    ['a deviation of zero', { options: { std: 0 } }, 'std'],
    ['two means', { options: { mean: [1, 2] } }, "mean has 2 numbers, colour 'rgb' has 3 channels"],
    ['a scale that is no number', { options: { scale: 'x' } }, 'scale'],
    ['other channels', { inputShape: [1, 12, 32, 32] }, "takes 12 channels, colour 'rgb' has 3"],
    [
      'a size that the network does not take',
      { options: { size: '24x20' }, inputShape: [1, 3, 32, 32] },
      '32x32, size says 24x20',
    ],
    ['other counts of classes', { outputs: 1000 }, 'tells 1000 classes apart, photos has 2'],
    ['text as input', { inputShape: [1, 128] }, 'takes 2 axes'],
  ])('is an error for %s', (_, request, message) =>
    expect(() => resolvePreprocessing({ dataset, ...request })).toThrow(message),
  );
});
