import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type CommandEvent, callable } from '../../src/commands/command.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { command as trainCommand } from '../../src/commands/train.ts';
import { writeModel } from '../../src/onnx/index.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { afterStep, dropoutNet, hashes, log, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const train = callable(trainCommand);

/** 20 steps: warm-up 5, search 9, finish 6; an epoch has 8. */
const settings = { ...tiny, steps: 20, searchFrom: 0.25, searchUntil: 0.7 };

/** Run to the end, and once more with an interruption; both folders. */
async function twice(
  run: typeof prune,
  resume: typeof prune,
  options: Omit<Parameters<typeof prune>[0], 'out'>,
  stop: (event: CommandEvent) => boolean,
): Promise<{ whole: string; parts: string }> {
  const [whole, parts] = [join(scratch(), 'whole'), join(scratch(), 'parts')];
  await run({ ...options, out: whole });
  const stopped = await run({ ...options, out: parts }, recording(stop).context);
  expect(stopped).toMatchObject({ stopped: true, directory: parts });
  expect(readdirSync(parts)).not.toContain('result.json');
  const result = await resume({ resume: parts });
  expect(result).not.toHaveProperty('stopped');
  return { whole, parts };
}

const evaluationAt = (step: number) => (event: CommandEvent) => event.type === 'evaluation' && event.step === step;

describe('a run that is stopped and goes on ends like one that is not', () => {
  const whole = join(scratch(), 'whole');
  beforeAll(async () => {
    await prune({ ...settings, out: whole });
    const steps = log(whole).filter(({ type }) => type === 'step');
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect([...new Set(steps.map(({ phase }) => phase))]).toEqual(['warm-up', 'search', 'freeze']);
    expect(log(whole).filter(({ type }) => type === 'evaluation')).toHaveLength(3);
  });

  test.each([
    ['before its first step', (event: CommandEvent) => event.type === 'said'],
    ['in the warm-up', afterStep(3)],
    ['in the search', afterStep(7)],
    ['at the end of an epoch', afterStep(8)],
    ['after an evaluation', evaluationAt(8)],
    ['after the freeze', afterStep(16)],
    ['in the last step', afterStep(20)],
    ['after the last evaluation', evaluationAt(20)],
    [
      'while the result is made',
      (event: CommandEvent) => event.type === 'progress' && event.label === 'evaluating the start',
    ],
  ])('%s', async (_, stop) => {
    const parts = join(scratch(), 'parts');
    const first = await prune({ ...settings, out: parts }, recording(stop).context);
    expect(first).toMatchObject({ stopped: true, resume: `s2h prune --resume ${parts}` });
    await prune({ resume: parts });
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('many times', async () => {
    const parts = join(scratch(), 'parts');
    await prune({ ...settings, out: parts }, recording(afterStep(2)).context);
    for (const step of [3, 4, 8, 9, 15]) {
      expect(await prune({ resume: parts }, recording(afterStep(step)).context)).toMatchObject({ stopped: true, step });
    }
    await prune({ resume: parts });
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('a damaged checkpoint is told, and the one before is taken', async () => {
    const parts = join(scratch(), 'parts');
    await prune({ ...settings, out: parts }, recording(afterStep(7)).context);
    await prune({ resume: parts }, recording(afterStep(12)).context);
    truncateSync(join(parts, 'checkpoint-12.safetensors'), 5000);
    const { said, events, context } = recording();
    await prune({ resume: parts }, context);
    expect(said.join('\n')).toMatch(
      /checkpoint-12\.safetensors is damaged\. The run goes on from the one before, of step 7\./,
    );
    expect(events.find(({ type }) => type === 'step')).toMatchObject({ step: 8 });
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('where no checkpoint is whole the run is refused', async () => {
    const parts = join(scratch(), 'parts');
    await prune({ ...settings, out: parts }, recording(afterStep(7)).context);
    const [a, b] = readdirSync(parts).filter(file => /^checkpoint-.*safetensors$/.test(file));
    const bytes = readFileSync(join(parts, a));
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(join(parts, a), bytes);
    rmSync(join(parts, b));
    const error = await refusal(prune({ resume: parts }));
    expect([error.code, error.exitCode]).toEqual(['E_CHECKPOINT', 1]);
    expect(error.message).toContain(`${a} is damaged`);
    expect(error.message).toContain(`${b} is missing`);
    writeFileSync(join(parts, 'checkpoint.json'), '{');
    expect((await refusal(prune({ resume: parts }))).code).toBe('E_CHECKPOINT');
  });

  test('a run that has ended prints its result again', async () => {
    const { said, events, context } = recording();
    const before = hashes(whole, readdirSync(whole));
    expect(await prune({ resume: whole }, context)).toEqual(
      JSON.parse(readFileSync(join(whole, 'result.json'), 'utf8')),
    );
    expect([said, events]).toEqual([[], []]);
    expect(hashes(whole, readdirSync(whole))).toEqual(before);
  });
});

describe('so does every kind of run', () => {
  test('the control method', async () => {
    const { whole, parts } = await twice(prune, prune, { ...settings, method: 'dmp' }, afterStep(8));
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test.each([
    ['the compact network alone, taught by the soft one', { finishFrom: 0.7, teacher: 'soft' as const }, 16],
    ['the same, stopped at the cut', { finishFrom: 0.7, teacher: 'soft' as const }, 14],
    ['freeze, then the compact network alone on the labels', { finishFrom: 0.8 }, 15],
  ])('%s', async (_, more, at) => {
    const { whole, parts } = await twice(prune, prune, { ...settings, ...more }, afterStep(at));
    expect(hashes(parts, ['cut.onnx'])).toEqual(hashes(whole, ['cut.onnx']));
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('a precision that a probe chose', async () => {
    const { whole, parts } = await twice(prune, prune, { ...settings, precision: 'auto' }, afterStep(9));
    const chosen = (folder: string) => JSON.parse(readFileSync(join(folder, 'precision.json'), 'utf8')).precision;
    const result = JSON.parse(readFileSync(join(parts, 'result.json'), 'utf8'));
    expect(result.precision).toBe(chosen(parts));
    expect(result.notes.join()).toContain(`computed in ${chosen(parts)}`);
    if (chosen(whole) === chosen(parts)) expect(hashes(parts)).toEqual(hashes(whole));
  });

  test('widths at random, taught by the file', async () => {
    const model = join(scratch(), 'start.onnx');
    writeModel(buildNetwork('resnet8', { classes: 4, channels: 3, size: [8, 8], seed: 3, width: 4 }), model);
    const { width: _, searchFrom: __, searchUntil: ___, ...rest } = settings;
    const options = { ...rest, model, labels: 'none' as const, method: 'random' as const };
    const { whole, parts } = await twice(prune, prune, options, afterStep(9));
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('AdamW', async () => {
    const { whole, parts } = await twice(prune, prune, { ...settings, optimizer: 'adamw', lr: 0.003 }, afterStep(11));
    expect(hashes(parts)).toEqual(hashes(whole));
  });

  test('a network with Dropout', async () => {
    const model = join(scratch(), 'dropout.onnx');
    writeModel(dropoutNet(), model);
    const { width: _, ...rest } = settings;
    const { whole, parts } = await twice(prune, prune, { ...rest, model, untrained: true }, afterStep(7));
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('imitation of a file', async () => {
    const model = join(scratch(), 'mlp.onnx');
    writeModel(buildNetwork('mlp-24-16', { classes: 4, channels: 3, size: [8, 8], seed: 3 }), model);
    const { width: _, ...rest } = settings;
    const { whole, parts } = await twice(prune, prune, { ...rest, model, labels: 'none' }, afterStep(9));
    expect(hashes(parts)).toEqual(hashes(whole));
    expect(log(parts)).toEqual(log(whole));
  });

  test('a file with its weights in another file', async () => {
    const model = join(scratch(), 'mlp.onnx');
    const network = buildNetwork('mlp-24-16', { classes: 4, channels: 3, size: [8, 8], seed: 3 });
    expect(writeModel(network, model, { externalThreshold: 512 })).toHaveLength(2);
    const { width: _, ...rest } = settings;
    const { whole, parts } = await twice(prune, prune, { ...rest, model, untrained: true }, afterStep(9));
    const files = ['trained.onnx', 'trained.onnx.data', 'pruned.onnx', 'pruned.onnx.data', 'plan.json'].filter(file =>
      readdirSync(whole).includes(file),
    );
    expect(hashes(parts, files)).toEqual(hashes(whole, files));
    writeFileSync(join(parts, 'start.onnx.data'), 'other');
    expect((await refusal(prune({ resume: parts }))).code).toBe('E_RUN_CHANGED');
  });

  test('plain training', async () => {
    const [whole, parts] = [join(scratch(), 'whole'), join(scratch(), 'parts')];
    const { flops: _, searchFrom: _from, searchUntil: _until, ...options } = settings;
    await train({ ...options, out: whole });
    expect(await train({ ...options, out: parts }, recording(afterStep(9)).context)).toMatchObject({
      stopped: true,
      step: 9,
    });
    await train({ resume: parts });
    expect(hashes(parts, ['trained.onnx'])).toEqual(hashes(whole, ['trained.onnx']));
    expect(log(parts)).toEqual(log(whole));
    expect(await train({ resume: whole })).toEqual(JSON.parse(readFileSync(join(whole, 'result.json'), 'utf8')));
  });
});
