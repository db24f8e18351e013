import { spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeModel } from '../../src/onnx/index.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { netOf } from '../prune/nets.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 's2h-coverage-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const files = ['light_bvlc_alexnet.onnx', 'light_resnet50.onnx'];
let page = '';

/** A sample of what docs/coverage.md has, small enough for every test run; one file is none, and one cannot be cut. */
beforeAll(async () => {
  for (const file of files) copyFileSync(join(root, 'test/data/onnx', file), join(folder, file));
  const shape = { channels: 3, size: [16, 16], classes: 10, seed: 3 } as const;
  writeModel(buildNetwork('resnet20', shape), join(folder, 'resnet20.onnx'));
  writeModel(
    netOf((g, x) => g.op('Softmax', [g.conv(x, 3, 8)], { axis: 1 }, 'soft')),
    join(folder, 'walled.onnx'),
  );
  writeFileSync(join(folder, 'broken.onnx'), 'not a model');
  const out = join(folder, 'coverage.md');
  const options = ['--out', out, '--seconds', '0.05', '--inputs', '2', '--timeout', '120'];
  const script = join(root, 'scripts/coverage.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, folder, ...options], { cwd: root });
  let told = '';
  child.stderr.on('data', data => (told += data));
  expect(await new Promise(done => child.on('close', done)), told).toBe(0);
  expect(told).toContain('resnet20.onnx: certified');
  page = readFileSync(out, 'utf8');
}, 600_000);

const cells = (model: string) => {
  const line = page.split('\n').find(text => text.startsWith(`| ${model} `))!;
  return line.split('|').map(cell => cell.trim());
};

test.each(['light_bvlc_alexnet', 'light_resnet50', 'resnet20'])('%s loses half of its MACs and is certified', model => {
  const [, , nodes, groups, , , , kept, , , before, after, , , error] = cells(model);
  expect(Number(nodes)).toBeGreaterThan(0);
  expect(Number(groups)).toBeGreaterThan(0);
  expect(Number.parseFloat(kept)).toBeLessThanOrEqual(50);
  expect(Number.parseFloat(kept)).toBeGreaterThan(49.4);
  for (const time of [before, after]) expect(Number.parseFloat(time)).toBeGreaterThan(0);
  expect(Number(error)).toBeLessThan(1e-4);
});

test('what cannot be cut is unchanged, with its walls; what is no model is a failure by name, and the rest goes on', () => {
  expect(cells('walled').at(-2)).toBe('unchanged: no channels can be pruned');
  expect(page).toMatch(/^\| walled\.onnx +\| 1 x graph output +\|$/m);
  expect(cells('broken').at(-2)).toBe('failed');
  expect(page).toMatch(/^- `broken\.onnx`: inspect: E_\w+: /m);
  expect(page).toContain(
    '5 models: 3 certified, 1 unchanged with their walls named, 1 failed. Of 3 image classifiers 3',
  );
});
