import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { coupled } from '../../src/commands/starting-model.ts';
import { type TrainResult, command as trainCommand } from '../../src/commands/train.ts';
import { readModel } from '../../src/onnx/index.ts';
import { costOf } from '../../src/prune/cost.ts';
import { afterStep, data, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const train = callable(trainCommand);
const { flops: _, ...settings } = tiny;

test('a network learns what can be learnt, and the file that is left answers like it', async () => {
  const out = join(scratch(), 'run');
  const result = (await train({ ...settings, steps: 40, out })) as TrainResult;
  expect(result.accuracy.start.images).toBe(32);
  // The classes are four smooth patterns in noise; chance is a quarter.
  expect(result.accuracy.onnx.accuracy).toBeGreaterThan(0.9);
  expect(result).toMatchObject({ method: 'plain', steps: 40, epochs: 5, threads: 1, threadsWhy: '--threads' });
  const { coupling } = coupled(readModel(join(out, 'trained.onnx')));
  expect(result.macs).toBe(costOf(coupling, 'macs').full);
  expect(JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'))).toEqual(result);
  expect(trainCommand.render(result)).toContain(`${out}/trained.onnx`);
});

test('the widths of a plan: a fresh network of just that size', async () => {
  const folder = scratch();
  const pruned = (await prune({ ...tiny, steps: 10, searchFrom: 0.2, out: join(folder, 'pruned') })) as PruneResult;
  const widths = join(folder, 'pruned', 'plan.json');
  const result = (await train({ ...settings, steps: 8, widths, out: join(folder, 'fresh') })) as TrainResult;
  expect([result.macs, result.params]).toEqual([pruned.macs.after, pruned.params.after]);

  await train({ ...settings, steps: 8, widths, out: join(folder, 'stopped') }, recording(afterStep(3)).context);
  const error = await refusal(train({ resume: join(folder, 'stopped'), widths: 'other.json' }));
  expect(error.message).toMatch(/--widths "other\.json" \(the run has ".*plan\.json"\)/);
  await train({ resume: join(folder, 'stopped') });
  const bytes = (run: string) => readFileSync(join(folder, run, 'trained.onnx'));
  expect(bytes('stopped').equals(bytes('fresh'))).toBe(true);
});

test('a trained file: no teacher, no method and no order of channels are settled', async () => {
  const folder = scratch();
  await train({ ...settings, steps: 40, out: join(folder, 'first') });
  const { width: _width, ...rest } = settings;
  const model = join(folder, 'first', 'trained.onnx');
  await train({ ...rest, model, steps: 2, out: join(folder, 'second') });
  const config = JSON.parse(readFileSync(join(folder, 'second', 'config.json'), 'utf8'));
  expect(config).toMatchObject({
    trainedStart: true,
    settings: { teacher: 'none', method: 'plain', order: 'natural' },
  });
});

test.each([
  ['a missing plan', undefined, /E_PLAN|could not be read/],
  ['text', 'no plan', /could not be read/],
  ['another format', '{"format":"other/1","groups":[]}', /format|plan/i],
])('%s is refused, and leaves nothing behind', async (_name, content, words) => {
  const folder = scratch();
  const widths = join(folder, 'plan.json');
  if (content !== undefined) writeFileSync(widths, content);
  const error = await refusal(train({ ...settings, data, steps: 8, widths, out: join(folder, 'run') }));
  expect(error.code).toMatch(/^E_PLAN/);
  expect(error.message).toMatch(words);
  expect(() => readFileSync(join(folder, 'run', 'config.json'))).toThrow();
});
