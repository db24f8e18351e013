import { join } from 'node:path';
import { expect, test } from 'vitest';
import { measureLatency } from '../../src/runtime/latency.ts';
import { allowedThreads } from '../../src/util/threads.ts';
import { int64s, node, scoresAreImages, type TestModel, temporaryFolder, writeTestModel } from './models.ts';

const folder = temporaryFolder();
const file = (name: string, model: TestModel) => writeTestModel(join(folder, name), model);

test('files are measured side by side; a batch that a file fixes otherwise is not', async () => {
  const free = file('free.onnx', scoresAreImages('N'));
  const fixed = file('fixed.onnx', scoresAreImages(1));
  const settings: string[] = [];
  const result = await measureLatency([free, fixed], {
    batches: [1, 32],
    threads: [1],
    runs: 7,
    onProgress: ({ threads, batch, step, steps }) => settings.push(`${threads}x${batch} ${step}/${steps}`),
  });
  expect(settings).toEqual(['1x1 0/2', '1x32 1/2']);
  expect(result.rows.map(({ path, batch, threads, runs, notRun }) => ({ path, batch, threads, runs, notRun }))).toEqual(
    [
      { path: free, batch: 1, threads: 1, runs: 7, notRun: undefined },
      { path: fixed, batch: 1, threads: 1, runs: 7, notRun: undefined },
      { path: free, batch: 32, threads: 1, runs: 7, notRun: undefined },
      { path: fixed, batch: 32, threads: 1, runs: undefined, notRun: "the file's batch is fixed at 1" },
    ],
  );
  for (const row of result.rows.filter(row => !row.notRun)) {
    expect(row.p10Ms).toBeGreaterThan(0);
    expect(row.p10Ms).toBeLessThanOrEqual(row.medianMs!);
    expect(row.p90Ms).toBeGreaterThanOrEqual(row.medianMs!);
    expect(row.speedup).toBeGreaterThan(0);
  }
  expect(result.rows[0].speedup).toBe(1);
  expect(result).toMatchObject({ optimize: 'all', allowedThreads: allowedThreads() });
});

test('all threads are the allowed ones, and a count is measured once', async () => {
  const { threads } = allowedThreads();
  const path = file('free.onnx', scoresAreImages('N'));
  const { rows } = await measureLatency([path], { batches: [1, 1], threads: ['all', threads], seconds: 0 });
  expect(rows).toMatchObject([{ batch: 1, threads, runs: 5 }]);
});

test('a batch that is held inside the graph is not run, with the reason', async () => {
  const inside: TestModel = {
    inputs: { x: ['float', ['N', 4, 2]] },
    outputs: { y: ['float', [1, 8]] },
    initializers: [int64s('shape', [1, 8])],
    nodes: [node('Reshape', ['x', 'shape'], ['y'])],
  };
  const { rows } = await measureLatency([file('inside.onnx', inside)], { batches: [1, 4], threads: [1], runs: 5 });
  expect(rows.map(row => row.runs)).toEqual([5, undefined]);
  expect(rows[1].notRun).toMatch(/inside\.onnx/);
});

test('open spatial axes need a shape', async () => {
  const open: TestModel = {
    inputs: { image: ['float', ['N', 3, 'H', 'W']] },
    outputs: { y: ['float', ['N', 3, 1, 1]] },
    nodes: [node('GlobalAveragePool', ['image'], ['y'])],
  };
  const path = file('open.onnx', open);
  await expect(measureLatency([path])).rejects.toThrow(/--shape image=1,3,H,W/);
  await expect(measureLatency([path], { shapes: { photo: [1] } })).rejects.toMatchObject({ code: 'E_SHAPE' });
  const shapes = { image: [1, 3, 8, 8] };
  const { rows } = await measureLatency([path], { shapes, batches: [2], threads: [1], runs: 5 });
  expect(rows).toMatchObject([{ batch: 2, runs: 5 }]);
});

test('an aborted measurement stops', async () => {
  const path = file('free.onnx', scoresAreImages('N'));
  await expect(measureLatency([path], { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
});
