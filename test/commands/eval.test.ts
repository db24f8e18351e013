import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/eval.ts';
import { preprocessingKey } from '../../src/data/preprocess.ts';
import { GraphBuilder } from '../../src/onnx/index.ts';
import { wilsonInterval } from '../../src/util/stats.ts';
import { allowedThreads } from '../../src/util/threads.ts';
import { temporaryFolder } from '../runtime/models.ts';
import { constantAnswer, redOrBlue, write } from './small-files.ts';

const folder = temporaryFolder();
const evaluate = callable(command);

// Labels go round: of images 0 to 32, nine are of class 0 and eight of each other class.
const data = 'synthetic:classes=4,size=8,train=8,validation=6,test=33';
const shape = ['N', 3, 8, 8];
const answer = (label: number, axes: (number | string)[] = shape, metadata = {}) =>
  constantAnswer(
    folder,
    `${label}-${axes[0]}-${Object.keys(metadata).length}`,
    { answer: label, classes: 4, shape: axes },
    metadata,
  );

test('counts, error, classes and how it was measured', async () => {
  const result = await evaluate({ file: answer(1), data });
  expect(result).toMatchObject({
    images: 33,
    classes: 4,
    correct: 8,
    top1: 8 / 33,
    top5: 1,
    split: 'test',
    output: 'scores',
  });
  expect(result.interval).toEqual(wilsonInterval(8, 33));
  expect(result.perClass).toEqual([
    { name: 'class0', correct: 0, total: 9 },
    { name: 'class1', correct: 8, total: 8 },
    { name: 'class2', correct: 0, total: 8 },
    { name: 'class3', correct: 0, total: 8 },
  ]);
  expect([1, allowedThreads().threads]).toContain(result.threads);
  expect(result.threadsWhy).not.toBe('');
  expect(result).toMatchObject({ optimize: 'all', against: null });
  expect(result.notes.join()).toMatch(/no better than chance \(25\.0.%\)/);
  const text = command.render(result);
  expect(text).toMatch(/accuracy +24\.24.% \(12\.83 to 41\.02\), 8 of 33/);
  expect(text).toMatch(/worst classes +class0 0\/9/);
  expect(text).toContain('graph optimisation: all');
  expect(JSON.parse(JSON.stringify(result))).toEqual(result);
});

test.each([1, 5, 50])('a file with the batch %i sees every image once', async fixed => {
  const result = await evaluate({ file: answer(0, [fixed, 3, 8, 8]), data, batch: 16, threads: 1 });
  expect(result).toMatchObject({ images: 33, correct: 9, threads: 1, threadsWhy: '--threads' });
});

test('other parts of the data', async () => {
  expect(await evaluate({ file: answer(0), data, split: 'validation' })).toMatchObject({ images: 6, correct: 2 });
  expect(await evaluate({ file: answer(3), data, split: 'train' })).toMatchObject({ images: 8, correct: 2 });
});

test('two files are compared image by image', async () => {
  const result = await evaluate({ file: answer(1), against: answer(0), data });
  expect(result.against).toMatchObject({ correct: 9, changed: 33, lost: 9, gained: 8, p: 1 });
  expect(result.against?.perClass[0]).toEqual({ name: 'class0', total: 9, before: 9, after: 0 });
  const text = command.render(result);
  expect(text).toContain(
    '33 of 33 answers changed: 9 right before and wrong now, 8 the other way round (McNemar p = 1.0)',
  );
  expect(text).toContain('Classes that lost most: class0 9 to 0 of 9.');
});

test('the label order of each file counts, also when two are compared', async () => {
  const reversed = { labelOrder: ['class3', 'class2', 'class1', 'class0'] };
  const file = answer(3, shape, { [preprocessingKey]: JSON.stringify(reversed) });
  const result = await evaluate({ file, against: answer(0), data });
  expect(result).toMatchObject({ correct: 9, origin: { labelOrder: 'metadata' } });
  expect(result.perClass).toContainEqual({ name: 'class0', correct: 9, total: 9 });
  expect(result.against).toMatchObject({ changed: 0, lost: 0, gained: 0, correct: 9 });
  const order = join(folder, 'order.txt');
  writeFileSync(order, 'class1\nclass0\nclass2\nclass3\n');
  expect(await evaluate({ file: answer(0), data, labelOrder: order })).toMatchObject({
    correct: 8,
    origin: { labelOrder: 'option' },
  });
});

test('flags go before the file of settings, that before metadata, that before the data set', async () => {
  const metadata = { [preprocessingKey]: JSON.stringify({ scale: 1 / 128, mean: [1, 2, 3], std: [4, 5, 6] }) };
  const json = join(folder, 'preprocessing.json');
  writeFileSync(json, JSON.stringify({ mean: [7, 8, 9], color: 'bgr' }));
  const result = await evaluate({ file: answer(0, shape, metadata), data, preprocessing: json, std: '0.5' });
  expect(result.preprocessing).toEqual({
    ...{
      size: [8, 8],
      scale: 1 / 128,
      mean: [7, 8, 9],
      std: [0.5, 0.5, 0.5],
      color: 'bgr',
      layout: 'nchw',
      labelOrder: null,
    },
  });
  expect(result.origin).toMatchObject({ scale: 'metadata', mean: 'file', std: 'option', size: 'network' });
});

test('a runtime whose optimiser breaks the file runs it as it is written', async () => {
  const g = new GraphBuilder();
  const x = g.input('images', shape);
  const one = (name: string) => g.initializer(name, Float32Array.of(1), []);
  const product = g.node('Mul', [g.node('Identity', [x]), g.node('Div', [one('a'), one('b')])]);
  const flat = g.node('Flatten', [g.node('GlobalAveragePool', [product])]);
  g.node('Gemm', [flat, g.initializer('w', new Float32Array(12), [3, 4])], {}, { output: 'scores' });
  g.output('scores', ['N', 4]);
  const said: string[] = [];
  const result = await evaluate(
    { file: write(folder, 'broken', g.model()), data },
    { say: message => said.push(message) },
  );
  expect(result).toMatchObject({ images: 33, correct: 9, optimize: 'none' });
  expect(said.join()).toMatch(/could not load.*With graph optimisation off it runs/);
});

const photos = join(folder, 'photos');
beforeAll(async () => {
  for (const [part, count] of [
    ['train', 4],
    ['val', 33],
  ] as const) {
    for (const [name, background] of [
      ['blue', '#0000ff'],
      ['red', '#ff0000'],
    ] as const) {
      const into = join(photos, part, name);
      mkdirSync(into, { recursive: true });
      const png = await sharp({ create: { width: 20, height: 12, channels: 3, background } })
        .png()
        .toBuffer();
      // Of 33 images 16 are red.
      const images = part === 'train' ? count : name === 'red' ? 16 : 17;
      for (let i = 0; i < images; i++) writeFileSync(join(into, `${i}.png`), png);
    }
  }
});

test('a folder of images, every one of them counted', async () => {
  const file = redOrBlue(folder, 'red-or-blue', ['N', 3, 8, 8]);
  // The first score is the mean of red, but class 0 is blue.
  const flags = { file, data: photos, scale: 1, mean: 0, std: 1 };
  expect(await evaluate(flags)).toMatchObject({ images: 33, correct: 0, data: photos });
  expect(await evaluate({ ...flags, color: 'bgr', batch: 32 })).toMatchObject({ images: 33, correct: 33 });
});

test('a network with an open size takes --size', async () => {
  const file = redOrBlue(folder, 'open', ['N', 3, 'H', 'W']);
  const result = await evaluate({ file, data: photos, color: 'bgr', size: '6x10' });
  expect(result).toMatchObject({ images: 33, correct: 33, preprocessing: { size: [6, 10] } });
});

test('what does not fit is an error that says so', async () => {
  const ten = constantAnswer(folder, 'ten', { answer: 0, classes: 10, shape });
  await expect(evaluate({ file: ten, data })).rejects.toMatchObject({ code: 'E_LABEL_COUNT' });
  await expect(evaluate({ file: answer(0), data, size: 9 })).rejects.toMatchObject({ code: 'E_INPUT_SHAPE' });
  await expect(evaluate({ file: join(folder, 'absent.onnx'), data })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  await expect(evaluate({ file: answer(0), data: 'cifr10' })).rejects.toThrow(/Did you mean cifar10/);
  await expect(evaluate({ file: answer(0), data, output: 'probs' })).rejects.toThrow(/no output 'probs'.*scores/);
});
