import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/prune.ts';
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
  await expect(run).rejects.toMatchObject({ code: 'E_STATISTICS', message: expect.stringContaining('--scale') });
  expect(existsSync(out)).toBe(false);
});

test.each([
  [{ optimizer: 'adamw', momentum: 0.9 }, '--momentum', '--optimizer sgd'],
  [{ method: 'dmp', routes: 't1' }, '--routes', '--method s2h'],
  [{ recipe: 'paper', kappa: 2 }, '--kappa', '--fusion gnorm'],
] as const)('An option that would do nothing is refused by name: %o', async (options, name, beside) => {
  await expect(prune({ model: 'resnet8', ...small, ...options })).rejects.toMatchObject({
    code: 'E_OPTION',
    exitCode: 2,
    message: expect.stringMatching(new RegExp(`${name} .*${beside}`)),
  });
});
