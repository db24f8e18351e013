import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fasterThreads } from '../../src/runtime/thread-probe.ts';
import { scoresAreImages, temporaryFolder, writeTestModel } from './models.ts';

const folder = temporaryFolder();
const path = writeTestModel(join(folder, 'flatten.onnx'), scoresAreImages('N'));
const batch = { images: new Float32Array(24), shape: [4, 6, 1, 1] };

test('one allowed thread needs no probe', async () => {
  const allowed = { threads: 1, why: '1 available processor' };
  expect(await fasterThreads('absent.onnx', batch, allowed, 'all')).toBe(allowed);
});

test('the choice is one thread or all of them, with its reason', async () => {
  const allowed = { threads: 3, why: '3 available processors' };
  const chosen = await fasterThreads(path, batch, allowed, 'all');
  expect([allowed, { threads: 1, why: 'faster than 3 on the first images' }]).toContainEqual(chosen);
});

test('images that do not fit are an error', async () => {
  const wrong = { images: new Float32Array(5), shape: [1, 5, 1, 1] };
  const probing = fasterThreads(path, wrong, { threads: 2, why: '' }, 'all');
  await expect(probing).rejects.toMatchObject({ code: 'E_INPUT_SHAPE' });
});
