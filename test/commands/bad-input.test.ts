import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { commands } from '../../src/commands/index.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { command as trainCommand } from '../../src/commands/train.ts';
import { GraphBuilder, writeModel } from '../../src/onnx/index.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { cli } from '../cli/fake.ts';
import { afterStep, data, hashes, normal, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const train = callable(trainCommand);
const settings = { ...tiny, steps: 6 };
const { model: _model, width: _width, ...withoutModel } = settings;

const folder = scratch();
/** A file for 8x8 images in 4 classes, without meaning. */
const mlp = join(folder, 'mlp.onnx');
/** A trained one. */
const trained = join(folder, 'run', 'trained.onnx');
beforeAll(async () => {
  writeModel(buildNetwork('mlp-24', { classes: 4, channels: 3, size: [8, 8], seed: 0 }), mlp);
  await train({ model: mlp, untrained: true, data, batch: 16, threads: 1, steps: 40, out: join(folder, 'run') });
});

/** Everything below a folder. */
const listing = (path: string) => readdirSync(path, { recursive: true }).map(String).sort();

describe('refused before anything is trained, and without a trace', () => {
  test.each<[string, Partial<Parameters<typeof prune>[0]>, string, 1 | 2, RegExp]>([
    ['a missing model', { model: './missing.onnx' }, 'E_NOT_FOUND', 1, /missing\.onnx/],
    ['an unknown architecture', { model: 'resnt8' }, 'E_UNKNOWN_MODEL', 2, /'resnt8'.*Did you mean resnet8\?/],
    ['a width for a file', { model: mlp, width: 4, untrained: true }, 'E_OPTION', 2, /--width/],
    ['imitation of a named architecture', { labels: 'none' }, 'E_OPTION', 2, /--labels none.*named architecture/],
    [
      'a budget below the reachable range',
      { flops: 0.001 },
      'E_BUDGET_UNREACHABLE',
      2,
      /0\.001 cannot be met: this network can keep 0\.\d+ to 1/,
    ],
    ['a budget above it', { flops: 1e12 }, 'E_BUDGET_UNREACHABLE', 2, /cannot be met/],
    ['no budget', { flops: undefined }, 'E_BUDGET', 2, /No budget is given.*--flops 0\.35/],
    ['two budgets', { params: 0.5 }, 'E_BUDGET', 2, /More than one budget/],
    ['steps and epochs', { epochs: 1 }, 'E_OPTION', 2, /--steps and --epochs/],
    [
      'a search that ends before it begins',
      { searchFrom: 0.8, searchUntil: 0.2 },
      'E_OPTION',
      2,
      /--search-until 0\.2/,
    ],
    ['an unknown data set', { data: 'cifar11' }, 'E_DATA_UNKNOWN', 2, /cifar10/],
    ['no data', { data: undefined }, 'E_OPTION', 2, /--data is missing/],
    ['no model', { model: undefined }, 'E_OPTION', 2, /the model is missing/],
    ['images that are too small', { model: 'vgg11-bn', width: undefined }, 'E_INPUT_TOO_SMALL', 2, /8x8/],
    [
      'another number of classes',
      { ...withoutModel, width: undefined, model: trained, data: data.replace('classes=4', 'classes=5') },
      'E_LABEL_COUNT',
      1,
      /4 classes.*5/,
    ],
    [
      'other images than it was trained on',
      { ...withoutModel, width: undefined, model: trained, data: `${data},seed=5` },
      'E_NEAR_CHANCE',
      1,
      /chance is 25.*scale.*mean.*--color/,
    ],
  ])('%s', async (_, change, code, status, words) => {
    const place = scratch();
    const { events, context } = recording();
    const error = await refusal(
      prune({ ...settings, ...change, out: join(place, 'deep', 'run') } as Parameters<typeof prune>[0], context),
    );
    expect([error.code, error.exitCode]).toEqual([code, status]);
    expect(error.message).toMatch(words);
    expect(error.message).not.toContain('\n');
    expect(events.filter(({ type }) => type === 'step')).toEqual([]);
    expect(listing(place)).toEqual([]);
  });

  test('a file that is no model', async () => {
    const place = scratch();
    const whole = readFileSync(mlp);
    for (const [name, bytes] of [
      ['cut short', whole.subarray(0, whole.length / 2)],
      ['empty', Buffer.alloc(0)],
      ['text', Buffer.from('no model at all\n'.repeat(100))],
      ['picture', Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')],
    ] as const) {
      const path = join(folder, `${name}.onnx`);
      writeFileSync(path, bytes);
      const error = await refusal(prune({ ...withoutModel, model: path, out: join(place, 'run') }));
      expect(error.code, name).toMatch(/^E_/);
      expect(error.message, name).toContain(path);
      expect(error.message).not.toContain('\n');
      expect(listing(place)).toEqual([]);
    }
  });

  test('networks that take no images', async () => {
    const two = new GraphBuilder();
    const sum = two.node('Add', [two.input('a', ['N', 3, 8, 8]), two.input('b', ['N', 3, 8, 8])]);
    const flat = two.node('Flatten', [sum]);
    two.output(
      two.node('Gemm', [two.node('Gemm', [flat, normal(two, 'v', [192, 8], 0.1)]), normal(two, 'w', [8, 4], 0.1)]),
      ['N', 4],
    );
    const rows = new GraphBuilder();
    const hidden = rows.node('Relu', [rows.node('Gemm', [rows.input('x', ['N', 7]), normal(rows, 'v', [7, 8], 0.1)])]);
    rows.output(rows.node('Gemm', [hidden, normal(rows, 'w', [8, 4], 0.1)]), ['N', 4]);
    const place = scratch();
    for (const [name, g, words] of [
      ['two', two, /2 inputs \(a, b\)/],
      ['rows', rows, /rows of 7 numbers.*3x8x8 give 192/],
    ] as const) {
      const path = join(folder, `${name}.onnx`);
      writeModel(g.model(), path);
      const error = await refusal(prune({ ...withoutModel, model: path, untrained: true, out: join(place, 'run') }));
      expect(error.code, name).toMatch(/^E_INPUT/);
      expect(error.message, name).toMatch(words);
      expect(listing(place)).toEqual([]);
    }
  });

  test('a folder that holds something', async () => {
    const place = scratch();
    writeFileSync(join(place, 'start.onnx'), 'mine');
    const error = await refusal(prune({ ...settings, out: place }));
    expect([error.code, error.exitCode]).toEqual(['E_RUN_EXISTS', 2]);
    expect(readFileSync(join(place, 'start.onnx'), 'utf8')).toBe('mine');
    const file = await refusal(prune({ ...settings, out: join(place, 'start.onnx') }));
    expect([file.code, file.exitCode]).toEqual(['E_OUT', 2]);
    expect(listing(place)).toEqual(['start.onnx']);
  });

  test('going on where there is no run', async () => {
    const place = scratch();
    const error = await refusal(prune({ resume: place }));
    expect([error.code, error.exitCode]).toEqual(['E_NO_RUN', 2]);
    expect((await refusal(prune({ resume: join(place, 'absent') }))).code).toBe('E_NO_RUN');
    expect(listing(place)).toEqual([]);
    const other = await refusal(prune({ resume: join(folder, 'run') }));
    expect([other.code, other.exitCode]).toEqual(['E_NO_RUN', 2]);
    expect(other.message).toContain('s2h train --resume');
  });
});

describe('on the command line', () => {
  test('an unknown option names the nearest, with exit status 2 and nothing on standard output', async () => {
    const { code, out, err } = await cli(['prune', 'resnet8', '--data', data, '--flop', '0.5'], commands);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(/^error\[E_UNKNOWN_OPTION\]: .*--flop'.*--flops/);
    expect(err.trim().split('\n')).toHaveLength(1);
  });

  test('a value of the wrong kind names the option', async () => {
    const { code, err } = await cli(['prune', 'resnet8', '--data', data, '--flops', '0.5', '--steps', '2.5'], commands);
    expect([code, err]).toEqual([2, expect.stringMatching(/^error\[E_OPTION\]: --steps/)]);
  });

  test('a failure that is no mistake in usage has exit status 1', async () => {
    const { code, out, err } = await cli(
      ['prune', trained, '--data', `${data},seed=5`, '--flops', '0.5', '--out', join(scratch(), 'run')],
      commands,
    );
    expect([code, out]).toEqual([1, '']);
    expect(err.trim().split('\n').at(-1)).toMatch(/^error\[E_NEAR_CHANCE\]/);
  });
});

describe('a loss that is not finite', () => {
  test('stops the run, and the last good checkpoint stays', async () => {
    const out = join(scratch(), 'run');
    const { events, context } = recording();
    const error = await refusal(
      prune({ ...withoutModel, model: mlp, untrained: true, lr: 1e6, steps: 40, out }, context),
    );
    expect([error.code, error.exitCode]).toEqual(['E_NOT_FINITE', 1]);
    expect(error.message).toContain('--lr');
    expect(events.every(({ L = 0 }) => Number.isFinite(L))).toBe(true);
    const { file, step } = JSON.parse(readFileSync(join(out, 'checkpoint.json'), 'utf8'));
    expect(step).toBeGreaterThan(0);
    expect(listing(out)).toEqual([file, 'checkpoint.json', 'config.json', 'events.jsonl', 'start.onnx'].sort());
  });

  test('a run without a good checkpoint leaves nothing behind', async () => {
    const place = scratch();
    const g = new GraphBuilder();
    const flat = g.node('Flatten', [g.input('x', ['N', 3, 8, 8])]);
    const hidden = g.node('Relu', [g.node('Gemm', [flat, normal(g, 'v', [192, 8], 1e38)])]);
    g.output(g.node('Gemm', [hidden, normal(g, 'w', [8, 4], 1e38)]), ['N', 4]);
    const model = join(folder, 'huge.onnx');
    writeModel(g.model(), model);
    const error = await refusal(prune({ ...withoutModel, model, untrained: true, out: join(place, 'run') }));
    expect(error.code).toBe('E_NOT_FINITE');
    expect(listing(place)).toEqual([]);
  });
});

describe('two runs into one folder', () => {
  test('one after the other: the second is refused, the first untouched', async () => {
    const out = join(scratch(), 'run');
    await prune({ ...settings, out });
    const before = hashes(out, readdirSync(out));
    const error = await refusal(prune({ ...settings, out }));
    expect([error.code, error.exitCode]).toEqual(['E_RUN_EXISTS', 2]);
    expect(error.message).toContain(`--resume ${out}`);
    expect(hashes(out, readdirSync(out))).toEqual(before);
  });

  test('at the same time, both new', async () => {
    const out = join(scratch(), 'run');
    const settled = await Promise.allSettled([prune({ ...settings, out }), prune({ ...settings, out })]);
    expect(settled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const { reason } = settled.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(reason).toMatchObject({ code: expect.stringMatching(/^E_RUN_(BUSY|EXISTS)$/), exitCode: 2 });
    expect(existsSync(join(out, 'result.json'))).toBe(true);
  });

  test('at the same time, going on twice', async () => {
    const out = join(scratch(), 'run');
    await prune({ ...settings, out }, recording(afterStep(2)).context);
    const settled = await Promise.allSettled([prune({ resume: out }), prune({ resume: out })]);
    expect(settled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const { reason } = settled.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
    expect(reason).toMatchObject({ code: 'E_RUN_BUSY', exitCode: 2 });
  });

  test('the beginning of a run that was killed is taken over', async () => {
    const out = join(scratch(), 'run');
    mkdirSync(out);
    for (const file of ['start.onnx', 'config.json.tmp-99']) writeFileSync(join(out, file), 'half');
    // No process has this number: Linux gives 2^22 at most.
    writeFileSync(
      join(out, 'run.lock'),
      JSON.stringify({ host: (await import('node:os')).hostname(), pid: 2 ** 23, started: null }),
    );
    await prune({ ...settings, out });
    expect(readdirSync(out)).not.toContain('config.json.tmp-99');
    expect(readdirSync(out)).not.toContain('run.lock');
  });
});
