import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { LabelledBatch } from '../../src/runtime/classifier.ts';
import { compareEvaluations, type EvaluateOptions, evaluateFile } from '../../src/runtime/evaluate.ts';
import { stream } from '../../src/util/random.ts';
import { floats, int64s, node, scoresAreImages, type TestModel, temporaryFolder, writeTestModel } from './models.ts';

const folder = temporaryFolder();
let files = 0;

const batchOf = (scores: readonly (readonly number[])[], labels: readonly number[]): LabelledBatch => ({
  images: Float32Array.from(scores.flat()),
  shape: [scores.length, 6, 1, 1],
  labels: Int32Array.from(labels),
});
const evaluate = (model: TestModel, batches: LabelledBatch[], options?: EvaluateOptions) =>
  evaluateFile(writeTestModel(join(folder, `${files++}.onnx`), model), batches, options);

const ranks = [9, 8, 7, 6, 5, 4]; // class 0 first, class 5 sixth
const four = [batchOf([ranks, ranks, ranks], [0, 4, 5]), batchOf([[0, 0, 1, 0, 0, 1]], [2])];

/** n images with whole scores 0..9 in batches of at most `size`, some of them ties. */
function randomBatches(n: number, size: number, seed: number): LabelledBatch[] {
  const random = stream(seed);
  const images = Array.from({ length: n }, () => Array.from({ length: 6 }, () => random.int(10)));
  const labels = images.map(() => random.int(6));
  return Array.from({ length: Math.ceil(n / size) }, (_, i) =>
    batchOf(images.slice(i * size, (i + 1) * size), labels.slice(i * size, (i + 1) * size)),
  );
}

test('counts, shares, classes and error of four images', async () => {
  const progress: number[] = [];
  const shown: Float32Array[] = [];
  const result = await evaluate(scoresAreImages('N'), four, {
    onProgress: images => progress.push(images),
    onScores: scores => shown.push(scores),
  });
  expect(result).toMatchObject({ output: 'scores', images: 4, classes: 6, correct: 2, top1: 0.5, top5: 0.75 });
  expect(result).toMatchObject({ threads: 1, optimize: 'all' });
  // 2 of 4, by statsmodels' proportion_confint(2, 4, method='wilson').
  expect(result.interval.map(x => Number(x.toFixed(4)))).toEqual([0.15, 0.85]);
  expect([...result.predictions]).toEqual([0, 0, 0, 2]); // of equal scores the first
  expect(result.perClass).toEqual([
    { class: 0, correct: 1, total: 1 },
    { class: 2, correct: 1, total: 1 },
    { class: 4, correct: 0, total: 1 },
    { class: 5, correct: 0, total: 1 },
  ]);
  expect(progress).toEqual([3, 4]);
  expect(shown.map(scores => [...scores])).toEqual(four.map(batch => [...batch.images]));
});

test.each([1, 2, 7, 50])('a file whose batch is fixed at %i sees every image once', async fixed => {
  const batches = randomBatches(33, 16, 4);
  const free = await evaluate(scoresAreImages('N'), batches);
  const result = await evaluate(scoresAreImages(fixed), batches);
  expect(result.images).toBe(33);
  expect({ ...result, path: free.path }).toEqual(free);
  expect(result.predictions).toEqual(
    Int32Array.from(batches.flatMap(({ images, labels }) => argmaxOfRows(images, labels.length))),
  );
});

const argmaxOfRows = (images: Float32Array, rows: number) =>
  Array.from({ length: rows }, (_, i) => {
    const row = [...images.subarray(i * 6, i * 6 + 6)];
    return row.indexOf(Math.max(...row));
  });

test('half precision and whole pixels go in converted', async () => {
  const batches = randomBatches(10, 4, 8);
  const { predictions } = await evaluate(scoresAreImages('N'), batches);
  expect((await evaluate(scoresAreImages('N', 'half'), batches)).predictions).toEqual(predictions);
  const pixels: TestModel = {
    inputs: { image: ['uint8', ['N', 6, 1, 1]] },
    outputs: { scores: ['float', ['N', 6]] },
    nodes: [node('Cast', ['image'], ['numbers'], { to: 1 }), node('Flatten', ['numbers'], ['scores'])],
  };
  expect((await evaluate(pixels, batches)).predictions).toEqual(predictions);
  await expect(evaluate(pixels, [batchOf([[0.5, 0, 0, 0, 0, 0]], [0])])).rejects.toMatchObject({ code: 'E_INPUT' });
});

test('of several outputs the first with a row of scores per image is taken, or the named one', async () => {
  const several: TestModel = {
    inputs: { image: ['float', ['N', 6, 1, 1]] },
    outputs: { features: ['float', ['N', 6, 1, 1]], scores: ['float', ['N', 6]], negative: ['float', ['N', 6]] },
    nodes: [
      node('Identity', ['image'], ['features']),
      node('Flatten', ['image'], ['scores']),
      node('Neg', ['scores'], ['negative']),
    ],
  };
  expect(await evaluate(several, four)).toMatchObject({ output: 'scores', correct: 2 });
  expect(await evaluate(several, four, { output: 'negative' })).toMatchObject({ output: 'negative', correct: 1 });
  expect(await evaluate(several, four, { output: 'features' })).toMatchObject({ correct: 2 });
  await expect(evaluate(several, four, { output: 'other' })).rejects.toThrow(/features, scores, negative/);
});

test('a file without class scores is an error that says what it has', async () => {
  const maps = { features: ['float', ['N', 6, 1, 1]], twice: ['float', ['N', 12, 1, 1]] } as const;
  const several: TestModel = {
    inputs: { image: ['float', ['N', 6, 1, 1]] },
    outputs: maps,
    nodes: [node('Identity', ['image'], ['features']), node('Concat', ['image', 'image'], ['twice'], { axis: 1 })],
  };
  await expect(evaluate(several, four)).rejects.toThrow(/features \[3, 6, 1, 1\].*--output/);
  const rows: TestModel = {
    inputs: { image: ['float', ['N', 6, 1, 1]] },
    outputs: { scores: ['float', ['M', 3]] },
    initializers: [int64s('shape', [-1, 3])],
    nodes: [node('Reshape', ['image', 'shape'], ['scores'])],
  };
  await expect(evaluate(rows, four)).rejects.toMatchObject({ code: 'E_NOT_A_CLASSIFIER' });
});

test('images that do not fit, unknown classes and missing images are errors', async () => {
  const small = { ...four[0], shape: [3, 2, 1, 3] };
  await expect(evaluate(scoresAreImages('N'), [small])).rejects.toThrow(/\[N, 6, 1, 1\].*\[N, 2, 1, 3\]/);
  await expect(evaluate(scoresAreImages('N'), [batchOf([ranks], [6])])).rejects.toMatchObject({ code: 'E_LABELS' });
  await expect(evaluate(scoresAreImages('N'), [])).rejects.toMatchObject({ code: 'E_NO_IMAGES' });
  const both: TestModel = {
    inputs: { image: ['float', ['N', 6, 1, 1]], other: ['float', ['N', 6, 1, 1]] },
    outputs: { scores: ['float', ['N', 6, 1, 1]] },
    nodes: [node('Add', ['image', 'other'], ['scores'])],
  };
  await expect(evaluate(both, four)).rejects.toThrow(/2: image, other/);
});

test('a flat input takes the pixels in their order; weights listed as inputs are not fed', async () => {
  const flat: TestModel = {
    inputs: { pixels: ['float', ['N', 6]], w: ['float', [6]] },
    outputs: { scores: ['float', ['N', 6]] },
    initializers: [floats('w', [6], [1, 1, 1, 1, 1, 10])],
    nodes: [node('Mul', ['pixels', 'w'], ['scores'])],
    irVersion: 3,
  };
  expect([...(await evaluate(flat, four)).predictions]).toEqual([5, 5, 5, 5]);
});

test('scores that are not numbers are never right', async () => {
  const nan = Number.NaN;
  const images = [
    [nan, nan, nan, nan, nan, nan],
    [nan, 1, 2, nan, nan, nan],
  ];
  const result = await evaluate(scoresAreImages('N'), [batchOf(images, [0, 2])]);
  expect(result).toMatchObject({ correct: 1, top5: 0.5 });
  expect([...result.predictions]).toEqual([-1, 2]);
});

test('an aborted evaluation stops', async () => {
  const signal = AbortSignal.abort(new Error('stop'));
  await expect(evaluate(scoresAreImages('N'), four, { signal })).rejects.toThrow('stop');
});

test('two evaluations of the same images are compared image by image', async () => {
  const labels = [0, 0, 0, 1, 1, 2];
  const at = (classes: number[]) => classes.map(c => ranks.map((_, i) => Number(i === c)));
  const before = await evaluate(scoresAreImages('N'), [batchOf(at([0, 0, 3, 1, 0, 2]), labels)]);
  const after = await evaluate(scoresAreImages('N'), [batchOf(at([1, 2, 4, 1, 1, 2]), labels)]);
  expect(compareEvaluations(before, after)).toEqual({
    changed: 4,
    lost: 2,
    gained: 1,
    p: 1, // 2 (C(3,0) + C(3,1)) / 8
    perClass: [
      { class: 0, total: 3, before: 2, after: 0 },
      { class: 2, total: 1, before: 1, after: 1 },
      { class: 1, total: 2, before: 1, after: 2 },
    ],
  });
  const other = await evaluate(scoresAreImages('N'), four);
  expect(() => compareEvaluations(before, other)).toThrow(RangeError);
});
