import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { beginFrontier, type FrontierResult, type Runs } from '../../src/commands/frontier.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command } from '../../src/commands/prune.ts';
import { command as trainCommand } from '../../src/commands/train.ts';
import { writeModel } from '../../src/onnx/index.ts';
import { UserError } from '../../src/util/errors.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { writeImages } from './images.ts';
import { afterStep, data, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(command);
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

test('several budgets: one dense start, one run each from it, a table and a chart; it goes on where it was stopped', async () => {
  const out = join(scratch(), 'frontier');
  const options = { ...tiny, flops: [0.3, 0.6], out };
  let epochs = 0;
  const stop = recording(({ type }) => type === 'evaluation' && ++epochs === 4);
  const stopped = await prune(options, stop.context);
  expect(stopped).toMatchObject({ stopped: true, run: 'dense', directory: out, resume: `s2h prune --resume ${out}` });
  expect(existsSync(join(out, 'frontier.svg'))).toBe(false);
  expect((await refusal(prune({ resume: out, steps: 3 }))).code).toBe('E_RESUME_SETTING');

  const frontier = (await prune({ resume: out })) as FrontierResult;
  const runs = [0.3, 0.6].map(budget => json(join(out, String(budget), 'result.json')) as PruneResult);
  const dense = json(join(out, 'dense', 'result.json'));
  expect(frontier.points.map(({ name, ratio }) => [name, ratio])).toEqual([
    ['start', 1],
    ['0.3', runs[0].macs.ratio],
    ['0.6', runs[1].macs.ratio],
  ]);
  for (const [i, run] of runs.entries()) {
    expect(run.trainedStart).toBe(true);
    expect(run.macs.ratio).toBeLessThanOrEqual([0.3, 0.6][i]);
    expect(run.accuracy.dense!.correct).toBe(dense.accuracy.onnx.correct);
    expect(frontier.points[i + 1].accuracy).toBe(run.accuracy.onnx.accuracy);
  }
  expect(frontier.points[0].accuracy).toBe(dense.accuracy.onnx.accuracy);
  // Side by side: ratios are to the start of this measurement.
  expect(frontier.points[0]).toMatchObject({ name: 'start', speedup: 1 });
  for (const { latencyMs, speedup } of frontier.points) {
    expect(latencyMs).toBeGreaterThan(0);
    expect(speedup).toBeCloseTo(frontier.points[0].latencyMs! / latencyMs!, 9);
  }
  expect(new Set(stop.events.filter(({ type }) => type === 'step').map(({ run }) => run))).toEqual(new Set(['dense']));
  expect(json(join(out, 'result.json'))).toEqual(frontier);

  const svg = readFileSync(join(out, 'frontier.svg'), 'utf8');
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(svg.match(/<circle/g)).toHaveLength(6);
  expect(svg).not.toContain('NaN');
  expect(svg).toContain('MACs (millions)');
  const page = readFileSync(join(out, 'frontier.md'), 'utf8');
  expect(page).toContain('![accuracy against MACs and latency](frontier.svg)');
  expect(page).toContain('--flops 0.3,0.6');
  expect(page.split('\n').filter(line => line.startsWith('| '))).toHaveLength(5);

  const again = recording();
  expect(await prune({ resume: out }, again.context)).toEqual(frontier);
  expect(again.events.filter(({ type }) => type === 'step')).toEqual([]);
  expect(again.said.filter(sentence => /^(Budget|The dense start)/.test(sentence))).toEqual([]);
  const elsewhere = await refusal(prune({ ...options, out }));
  expect([elsewhere.code, elsewhere.message]).toEqual(['E_RUN_EXISTS', expect.stringContaining(`--resume ${out}`)]);
});

test('a budget that fails does not keep the others from theirs, and is tried again', async () => {
  const out = join(scratch(), 'frontier');
  const { model, flops, ...options } = { ...tiny, steps: 8, out };
  const train = callable(trainCommand) as unknown as Runs['train'];
  const diverges: Runs = {
    train,
    prune: (input, context) =>
      input.flops === 0.6
        ? Promise.reject(new UserError('E_NOT_FINITE', 'The loss is NaN.'))
        : (prune(input as never, context) as ReturnType<Runs['prune']>),
  };
  const { said, context } = recording();
  const first = (await beginFrontier({ model, budgets: [0.6, 0.3], options }, diverges, {
    ...context,
    setup: false,
  })) as FrontierResult;
  expect(first).toMatchObject({ exitCode: 1, failed: [{ budget: 0.6, code: 'E_NOT_FINITE' }] });
  expect(first.points.map(({ name }) => name)).toEqual(['start', '0.3']);
  expect(said.join()).toContain('Budget 0.6 failed: The loss is NaN. It can be tried alone');
  expect(readFileSync(join(out, 'frontier.md'), 'utf8')).toContain('- Budget 0.6 failed: E_NOT_FINITE');
  expect(json(join(out, 'result.json'))).not.toHaveProperty('exitCode');

  const second = (await prune({ resume: out })) as FrontierResult;
  expect(second).toMatchObject({ failed: [] });
  expect(second).not.toHaveProperty('exitCode');
  expect(second.points.map(({ name }) => name)).toEqual(['start', '0.6', '0.3']);
});

test('a dense start that has learned nothing is no matter of preprocessing', async () => {
  const out = join(scratch(), 'frontier');
  const error = await refusal(prune({ ...tiny, steps: 1, lr: 1e-9, flops: [0.5, 0.4], out }));
  expect([error.code, error.message]).toEqual(['E_NEAR_CHANCE', expect.stringMatching(/learned too little.*--epochs/)]);
  expect(error.message).not.toContain('--scale');
});

test('a folder that holds something is not taken', async () => {
  const out = scratch();
  await prune({ ...tiny, steps: 2, out: join(out, 'a') });
  expect((await refusal(prune({ ...tiny, flops: [0.3, 0.6], out: join(out, 'a') }))).code).toBe('E_RUN_EXISTS');
});

describe('refused before anything runs, and without a trace', () => {
  const folder = scratch();
  const file = join(folder, 'mlp.onnx');
  writeModel(buildNetwork('mlp-24', { classes: 4, channels: 3, size: [8, 8], seed: 0 }), file);

  test.each<[string, Partial<Parameters<typeof prune>[0]>, string, RegExp]>([
    ['the last budget out of reach', { flops: [0.5, 1e-6] }, 'E_BUDGET_UNREACHABLE', /0\.000001 cannot be met/],
    ['another budget beside them', { params: 0.5 }, 'E_BUDGET', /More than one budget/],
    ['a budget given twice', { flops: [0.5, 0.4, 0.5] }, 'E_BUDGET', /0\.5 is given twice/],
    ['options that do nothing', { fusion: 'sum', kappa: 1 }, 'E_OPTION', /--kappa does nothing here/],
    ['a weight of labels without a teacher', { finishFrom: 1, labelWeight: 0.5 }, 'E_OPTION', /--label-weight does/],
    ['phases out of order', { searchFrom: 0.8, searchUntil: 0.2 }, 'E_OPTION', /--search-until 0\.2/],
    ['imitation of a named architecture', { labels: 'none' }, 'E_OPTION', /--labels none.*named architecture/],
    ['--untrained with one', { untrained: true }, 'E_OPTION', /--untrained does nothing here/],
    ['--keep-folded with one', { keepFolded: true }, 'E_OPTION', /--keep-folded does nothing here/],
    ['a width for a file', { model: file, width: 4 }, 'E_OPTION', /--width is for named architectures/],
    ['a file that answers near chance', { model: file, width: undefined }, 'E_NEAR_CHANCE', /chance is 25/],
  ])('%s', async (_, change, code, words) => {
    const out = join(folder, 'frontier');
    const { events, said, context } = recording();
    const error = await refusal(prune({ ...tiny, flops: [0.5, 0.4], steps: 4, out, ...change }, context));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(words)]);
    expect(events.filter(({ type }) => type === 'step')).toEqual([]);
    expect(said.join()).not.toContain('is trained');
    expect(existsSync(out)).toBe(false);
  });

  test('a folder that was there stays, and can be used', async () => {
    const out = join(folder, 'made before');
    mkdirSync(out);
    await refusal(prune({ model: file, data, flops: [0.5, 0.4], threads: 1, out }));
    expect(readdirSync(out)).toEqual([]);
  });
});

describe('going on', () => {
  const home = process.cwd();
  afterEach(() => process.chdir(home));
  const settings = { batch: 16, threads: 1, steps: 3, flops: [0.5, 0.6] };

  test('with other threads: taken by runs that have begun and by those to come, refused by those that have ended', async () => {
    const out = join(scratch(), 'frontier');
    const first = recording(afterStep(1));
    const longer = { ...settings, steps: 40 }; // the dense start has to answer better than chance
    expect(await prune({ ...longer, model: 'mlp-24', data, out }, first.context)).toMatchObject({ step: 1 });
    const { said, context } = recording(event => event.type === 'said' && String(event.message).includes('/0.5: '));
    expect(await prune({ resume: out, threads: 2 }, context)).toMatchObject({ stopped: true });
    expect(said[0]).toContain('--threads is 2 now (the run began with 1)');
    expect(json(join(out, 'dense', 'result.json'))).toMatchObject({ threads: 2, threadsWhy: '--threads' });

    await prune({ resume: out, threads: 3 });
    expect(json(join(out, 'dense', 'result.json')).threads).toBe(2);
    for (const budget of ['0.5', '0.6']) expect(json(join(out, budget, 'result.json')).threads).toBe(3);
    const error = await refusal(prune({ resume: out, threads: 4 }));
    expect([error.code, error.message]).toEqual(['E_RESUME_SETTING', expect.stringMatching(/has ended.*--threads 4/)]);
  });

  test('from another folder, and with images that have moved', async () => {
    const [here, there] = [scratch(), scratch()];
    await writeImages(join(here, 'photos'), { train: { red: 18, blue: 18 }, val: { red: 4, blue: 4 } });
    writeModel(buildNetwork('mlp-24', { classes: 2, channels: 3, size: [16, 16], seed: 0 }), join(here, 'net.onnx'));
    process.chdir(here);
    const given = { ...settings, model: 'net.onnx', untrained: true, data: 'photos' };
    expect(await prune({ ...given, out: 'frontier' }, recording(afterStep(1)).context)).toMatchObject({ step: 1 });

    process.chdir(there);
    const out = join(here, 'frontier');
    expect(await prune({ resume: out }, recording(afterStep(2)).context)).toMatchObject({ step: 2 });
    expect(existsSync(join(out, '0.6'))).toBe(false);

    renameSync(join(here, 'photos'), join(there, 'moved'));
    expect((await refusal(prune({ resume: out }))).code).toBe('E_DATA_UNKNOWN');
    const frontier = await prune({ resume: out, data: 'moved' });
    expect(frontier).toMatchObject({ points: [{ name: 'start' }, { name: '0.5' }, { name: '0.6' }] });
    expect(json(join(out, '0.6', 'config.json')).data).toBe(join(there, 'moved'));
  });

  test('names of architectures and of data sets stay names', async () => {
    const out = join(scratch(), 'frontier');
    await prune({ ...settings, model: 'mlp-24', data, out }, recording(afterStep(1)).context);
    expect(json(join(out, 'frontier.json'))).toMatchObject({ model: 'mlp-24', options: { data } });
  });
});
