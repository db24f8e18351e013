import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { command } from '../../src/commands/bench.ts';
import { callable } from '../../src/commands/command.ts';
import { imageNetworkOf, parseShapes } from '../../src/commands/model-file.ts';
import { GraphBuilder } from '../../src/onnx/index.ts';
import { allowedThreads } from '../../src/util/threads.ts';
import { temporaryFolder } from '../runtime/models.ts';
import { constantAnswer, write } from './small-files.ts';

const folder = temporaryFolder();
const bench = callable(command);
const open = constantAnswer(folder, 'open', { answer: 0, classes: 4, shape: ['N', 3, 8, 8] });
const single = constantAnswer(folder, 'single', { answer: 0, classes: 4, shape: [1, 3, 8, 8] });
const dynamic = constantAnswer(folder, 'dynamic', { answer: 0, classes: 4, shape: ['N', 3, 'H', 'W'] });

test('files side by side, one row for every setting', async () => {
  const settings: unknown[] = [];
  const context = { onEvent: (event: object) => settings.push(event) };
  const result = await bench({ files: [open, single], batch: [1, 4], threads: [1], seconds: 0.01 }, context);
  expect(result).toMatchObject({ optimize: 'all', allowedThreads: allowedThreads() });
  expect(result.runtime).toMatch(/^\d+\.\d+/);
  expect(result.rows.map(({ path, batch, threads, notRun }) => [path, batch, threads, notRun])).toEqual([
    [open, 1, 1, undefined],
    [single, 1, 1, undefined],
    [open, 4, 1, undefined],
    [single, 4, 1, "the file's batch is fixed at 1"],
  ]);
  for (const { notRun, medianMs, p10Ms, p90Ms } of result.rows) {
    if (notRun) expect([medianMs, p10Ms, p90Ms]).toEqual([undefined, undefined, undefined]);
    else expect(medianMs! >= p10Ms! && p90Ms! >= medianMs! && p10Ms! > 0).toBe(true);
  }
  expect(result.rows[0].speedup).toBe(1);
  expect(settings).toHaveLength(2);
  const text = command.render(result);
  expect(text).toMatch(/open\.onnx +1 +1 +[\d.]+.ms +[\d.]+.ms to [\d.]+.ms +1\.00x/);
  expect(text).toMatch(/single\.onnx +4 +1 +not run$/m);
  expect(text).toMatch(/single\.onnx, batch 4: not run, the file's batch is fixed at 1/);
  expect(text).toMatch(/ONNX Runtime \d.*graph optimisation: all; all threads: \d/);
});

test('axes without a length need --shape', async () => {
  const settings = { files: [dynamic], batch: [2], threads: [1], seconds: 0.01 };
  await expect(bench(settings)).rejects.toThrow(/--shape images=1,3,H,W/);
  const { rows } = await bench({ ...settings, shape: ['images=1,3,6,7'] });
  expect(rows).toHaveLength(1);
  await expect(bench({ ...settings, shape: ['image=1,3,6,7'] })).rejects.toMatchObject({ code: 'E_SHAPE' });
});

test('shapes are read from the command line', () => {
  expect(parseShapes(['a=1,3,32,32', 'b:0/x=y=2x5'])).toEqual({ a: [1, 3, 32, 32], 'b:0/x=y': [2, 5] });
  expect(parseShapes()).toEqual({});
  for (const wrong of [['1,3,8,8'], ['=1,3'], ['a=1,H'], ['a='], ['a=0,3'], ['a=1.5'], ['a=1', 'a=1']])
    expect(() => parseShapes(wrong)).toThrow(/--shape input=1,3,224,224/);
});

test('a missing file is told before anything is measured', async () => {
  await expect(bench({ files: [open, join(folder, 'absent.onnx')] })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
});

test('a file that the runtime does not load gets a hint', async () => {
  const g = new GraphBuilder();
  g.output(g.node('NoSuchOperator', [g.input('x', [1])]), [1]);
  const path = write(folder, 'unknown', g.model());
  await expect(bench({ files: [path] })).rejects.toMatchObject({
    code: 'E_RUNTIME',
    fix: expect.stringContaining('--optimize none'),
  });
});

test('what a file says about its images', () => {
  const g = new GraphBuilder();
  const x = g.input('pixels', [null, 784]);
  g.input('w', [784, 10]);
  g.initializer('w', new Float32Array(7840), [784, 10]);
  g.output(g.node('MatMul', [x, 'w'], {}, { output: 'scores' }), ['N', 10]);
  g.output(g.node('Identity', [x], {}, { output: 'same' }), ['N', 784]);
  const model = g.model({ metadata: { key: 'value' } });
  expect(imageNetworkOf(model)).toEqual({ metadata: { key: 'value' }, inputShape: undefined, outputs: 10 });
  expect(imageNetworkOf(model, 'same').outputs).toBe(784);
});

const taskset = process.platform === 'linux' && spawnSync('taskset', ['-V']).status === 0;

test.skipIf(!taskset)('all threads are those that the affinity mask allows, without a word of the runtime', () => {
  const root = resolve(import.meta.dirname, '../..');
  const line = ['bench', open, '--seconds', '0.01', '--batch', '1', '--json'];
  const node = [process.execPath, '--import', 'tsx', 'src/cli/bin.ts', ...line];
  const { stdout, stderr, status } = spawnSync('taskset', ['-c', '0', ...node], { cwd: root, encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { rows, allowedThreads: allowed } = JSON.parse(stdout);
  expect(allowed).toMatchObject({ threads: 1 });
  expect(rows.map((row: { threads: number }) => row.threads)).toEqual([1]);
});
