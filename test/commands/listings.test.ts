import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as data } from '../../src/commands/data.ts';
import { command as doctor } from '../../src/commands/doctor.ts';
import { command as models } from '../../src/commands/models.ts';

afterEach(() => vi.unstubAllEnvs());

test('models counts parameters and MACs as published', async () => {
  const result = await callable(models)({});
  const found = Object.fromEntries(result.models.map(({ name, params, macs }) => [name, [params, macs]]));
  // Parameters: torchvision's documentation. MACs: its GFLOPS column, which counts multiply-accumulates, to its two digits.
  for (const [name, params, gmacs] of [
    ['resnet18', 11_689_512, 1.81],
    ['resnet34', 21_797_672, 3.66],
    ['resnet50', 25_557_032, 4.09],
    ['vgg11-bn', 132_868_840, 7.61],
    ['vgg16-bn', 138_365_992, 15.47],
    ['vgg19-bn', 143_678_248, 19.63],
  ] as const) {
    expect([name, found[name][0]]).toEqual([name, params]);
    expect([name, (found[name][1] / 1e9).toFixed(2)]).toEqual([name, gmacs.toFixed(2)]);
  }
  expect(result.models.every(({ params, macs }) => Number.isInteger(params) && Number.isInteger(macs))).toBe(true);
  expect(models.render(result)).toMatch(/^resnet20 +3x32x32 +10 +27\d k +40\.\d M /m);
});

test('data says where a data set lies, or that it would be fetched', async () => {
  const empty = mkdtempSync(join(tmpdir(), 's2h-data-'));
  vi.stubEnv('XDG_CACHE_HOME', empty);
  vi.stubEnv('S2H_DATA', '');
  const { datasets } = await callable(data)({});
  rmSync(empty, { recursive: true });
  expect(datasets.find(({ name }) => name === 'cifar100')).toMatchObject({
    classes: 100,
    shape: [3, 32, 32],
    found: null,
  });
  expect(data.render({ datasets })).toMatch(/^mnist +1x28x28 +10 +\(fetched when asked for\)/m);
});

test('doctor without a usable libtorch says what that costs and what to do', async () => {
  const empty = mkdtempSync(join(tmpdir(), 's2h-doctor-'));
  vi.stubEnv('LIBTORCH', empty);
  vi.stubEnv('XDG_CACHE_HOME', empty);
  const diagnosis = await callable(doctor)({});
  rmSync(empty, { recursive: true });
  expect(diagnosis).toMatchObject({ libtorch: null, device: null, blas: null, cache: { bytes: 0 } });
  const finding = diagnosis.findings.find(({ what }) => what.includes('LIBTORCH'));
  expect(finding?.cost).toBe('Without libtorch and the bridge to it nothing can be trained; everything else works.');
  expect(finding?.fix).not.toBe('');
  expect(doctor.render(diagnosis)).toMatch(/^libtorch +missing$/m);
});

test('doctor names versions, threads and their limit', async () => {
  const diagnosis = await callable(doctor)({});
  expect(diagnosis.node.version).toBe(process.version);
  expect(diagnosis.threads.threads).toBeGreaterThan(0);
  expect(diagnosis.packages.map(({ name }) => name)).toEqual(['onnxruntime-node', 'sharp']);
  if (diagnosis.libtorch) expect(diagnosis.blas?.gflops).toBeGreaterThan(0);
  expect(doctor.render(diagnosis)).toContain(diagnosis.threads.why);
});
