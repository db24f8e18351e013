import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/prune.ts';
import { isFile } from '../../src/commands/starting-model.ts';
import { command as trainCommand } from '../../src/commands/train.ts';
import { GraphBuilder, writeModel } from '../../src/onnx/index.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { data, scratch } from './support.ts';

const prune = callable(command);
const small = { data, flops: 0.5, steps: 4, batch: 16, threads: 1 };

test('A file whose output is an image is refused by name of the output, before anything is made', async () => {
  const folder = scratch();
  const g = new GraphBuilder({ name: 'image to image' });
  const x = g.input('input', ['N', 3, 8, 8]);
  const hidden = g.node('Conv', [x, g.initializer('a', new Float32Array(8 * 27).fill(0.1), [8, 3, 3, 3])], {
    pads: [1, 1, 1, 1],
  });
  g.output(
    g.node('Conv', [hidden, g.initializer('b', new Float32Array(32).fill(0.1), [4, 8, 1, 1])], {}, { output: 'image' }),
    ['N', 4, 8, 8],
  );
  writeModel(g.model(), join(folder, 'image.onnx'));
  const out = join(folder, 'run');
  for (const labels of ['data', 'none'] as const) {
    const run = prune({ model: join(folder, 'image.onnx'), ...small, labels, untrained: labels === 'data', out });
    await expect(run).rejects.toMatchObject({
      code: 'E_NOT_A_CLASSIFIER',
      message: expect.stringContaining("'image' has 4 axes"),
    });
  }
  expect(existsSync(out)).toBe(false);
});

test('A file that does not answer like itself with the statistics of these images is not imitated', async () => {
  const folder = scratch();
  writeModel(
    buildNetwork('resnet8', { classes: 4, channels: 3, size: [8, 8], seed: 1, width: 4 }),
    join(folder, 'net.onnx'),
  );
  const out = join(folder, 'run');
  const run = prune({ model: join(folder, 'net.onnx'), ...small, labels: 'none', scale: 1, out });
  await expect(run).rejects.toMatchObject({
    code: 'E_STATISTICS',
    message: expect.stringMatching(/net\.onnx.*--scale/),
  });
  expect(existsSync(out)).toBe(false);
});

test.each([
  [{ optimizer: 'adamw', momentum: 0.9 }, '--momentum', '--optimizer sgd'],
  [{ method: 'dmp', routes: 't1' }, '--routes', '--method s2h'],
  [{ recipe: 'paper', kappa: 2 }, '--kappa', '--fusion gnorm'],
  [{ recipe: 'paper', maskGapWeight: 1 }, '--mask-gap-weight', '--fusion gnorm or sum'],
  [{ fusion: 'paper', maskGapWeight: 1 }, '--mask-gap-weight', '--fusion gnorm or sum'],
  [{ labelWeight: 0.5 }, '--label-weight', '--teacher original or soft'],
  [{ finishFrom: 0.8, teacherTemperature: 2 }, '--teacher-temperature', '--teacher original or soft'],
  [{ recipe: 'paper', labelWeight: 0.5 }, '--label-weight', '--teacher original or soft'],
  [{ method: 'uniform', perMember: false }, '--no-per-member', '--method s2h or dmp'],
  [{ recipe: 'short', method: 'uniform' }, '--recipe', '--method s2h or dmp'],
  [{ untrained: true }, '--untrained', 'a model that is a file'],
  [{ keepFolded: true }, '--keep-folded', 'a model that is a file'],
  [{ keepFolded: true, untrained: true }, '--keep-folded', 'a trained file'],
  [{ valFraction: 0.3 }, '--val-fraction', 'a folder of images'],
  [{ data: tmpdir(), dataDir: tmpdir() }, '--data-dir', 'a data set with a name'],
] as const)('An option that would do nothing is refused by name: %o', async (options, name, beside) => {
  await expect(prune({ model: 'resnet8', ...small, ...options })).rejects.toMatchObject({
    code: 'E_OPTION',
    exitCode: 2,
    message: expect.stringMatching(new RegExp(`${name} .*${beside}`)),
  });
});

test('So is --keep-folded for a file that has its normalisation', async () => {
  const model = join(scratch(), 'net.onnx');
  writeModel(buildNetwork('resnet8', { classes: 4, channels: 3, size: [8, 8], seed: 1, width: 4 }), model);
  await expect(prune({ model, ...small, keepFolded: true })).rejects.toMatchObject({
    code: 'E_OPTION',
    exitCode: 2,
    message: expect.stringMatching(/--keep-folded .*without any normalisation/),
  });
});

test('So is a weight of labels for a trained file whose cut network is never alone', async () => {
  const folder = scratch();
  const model = join(folder, 'net.onnx');
  writeModel(buildNetwork('mlp-24', { classes: 4, channels: 3, size: [8, 8], seed: 1 }), model);
  for (const options of [{ finishFrom: 1 }, { method: 'dmp' }] as const) {
    const run = prune({ model, ...small, ...options, labelWeight: 0.5, out: join(folder, 'run') });
    await expect(run).rejects.toMatchObject({
      code: 'E_OPTION',
      message: expect.stringMatching(/--label-weight .*--teacher original or soft/),
    });
  }
});

test('A named architecture takes NCHW', async () => {
  const folder = scratch();
  const preprocessing = join(folder, 'preprocessing.json');
  writeFileSync(preprocessing, '{"layout": "nhwc"}');
  for (const run of [prune, callable(trainCommand)]) {
    for (const options of [{ layout: 'nhwc' }, { preprocessing }] as const) {
      const { flops: _, ...plain } = small;
      const asked = { model: 'resnet8', ...(run === prune ? small : plain), ...options, out: join(folder, 'run') };
      await expect(run(asked)).rejects.toMatchObject({
        code: 'E_OPTION',
        exitCode: 2,
        message: expect.stringMatching(/--layout nhwc .*named architecture/),
      });
    }
  }
  expect(existsSync(join(folder, 'run'))).toBe(false);
});

test('A folder does not take the place of an architecture of its name', () => {
  const [home, folder] = [process.cwd(), scratch()];
  mkdirSync(join(folder, 'resnet8'));
  writeFileSync(join(folder, 'resnet20'), '');
  process.chdir(folder);
  try {
    expect(['resnet8', 'resnet20', './resnet8', 'none.onnx'].map(isFile)).toEqual([false, true, true, true]);
  } finally {
    process.chdir(home);
  }
});
