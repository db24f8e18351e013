import { readdirSync, readFileSync, renameSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as evalCommand } from '../../src/commands/eval.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { type Dimension, GraphBuilder, type OnnxModel, writeModel } from '../../src/onnx/index.ts';
import { readJsonLines } from '../../src/util/jsonl.ts';
import { writeImage, writeImages } from './images.ts';
import { normal, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const evaluate = callable(evalCommand);

/** Normalisation behind global pooling: in training mode it needs more than one image. */
function pooledNet(height: Dimension = 16, width: Dimension = 16): OnnxModel {
  const g = new GraphBuilder({ name: 'pooled' });
  const x = g.input('input', ['N', 3, height, width]);
  const conv = g.node('Conv', [x, normal(g, 'w', [12, 3, 3, 3], 0.2), normal(g, 'b', [12], 0.1)], {
    pads: [1, 1, 1, 1],
  });
  const pooled = g.node('GlobalAveragePool', [g.node('Relu', [conv])]);
  const statistic = (name: string, value: number) => g.initializer(name, new Float32Array(12).fill(value), [12]);
  const norm = g.node('BatchNormalization', [
    pooled,
    statistic('scale', 1),
    statistic('shift', 0),
    statistic('mean', 0),
    statistic('variance', 1),
  ]);
  g.output(
    g.node('Gemm', [g.node('Flatten', [norm]), normal(g, 'v', [2, 12], 0.3), normal(g, 'c', [2], 0.1)], { transB: 1 }),
    ['N', 2],
  );
  return g.model();
}

describe('batches that do not come out even (openvinotoolkit/nncf PR#379)', () => {
  const folder = scratch();
  const model = join(folder, 'pooled.onnx');
  writeModel(pooledNet(), model);
  const settings = { model, untrained: true, flops: 0.6, batch: 32, threads: 1, lr: 0.02, searchFrom: 0.2 } as const;

  async function run(images: string, options: object = {}) {
    const out = join(scratch(), 'run');
    const { said, context } = recording();
    const result = (await prune({ ...settings, data: images, steps: 6, out, ...options }, context)) as PruneResult;
    for (const event of readJsonLines(join(out, 'events.jsonl'))) {
      for (const value of Object.values(event))
        if (typeof value === 'number') expect(Number.isFinite(value)).toBe(true);
    }
    // JSON has null for NaN.
    expect(JSON.stringify(result.accuracy)).not.toMatch(/:null/);
    return { result, said: said.join('\n'), out };
  }

  test('65 training and 33 validation images, 32 a batch', async () => {
    const images = await writeImages(join(folder, 'odd'), { train: { red: 33, blue: 32 }, val: { red: 17, blue: 16 } });
    const { result, said, out } = await run(images);
    expect(result.accuracy.onnx.images).toBe(33);
    expect(result.accuracy.hard.images).toBe(33);
    // A tenth of each class steers: 30 + 29 are left to train on.
    expect(said).toMatch(
      /Each epoch leaves out 27 of 59 training images \(others each time\): they fill no batch of 32\./,
    );
    expect(result.droppedImages).toBe(27);
    expect(result.notes.join()).toContain('leaves out 27 of 59');
    expect((await evaluate({ file: join(out, 'pruned.onnx'), data: images })).images).toBe(33);
  });

  test('one image more than whole batches', async () => {
    const images = await writeImages(join(folder, 'one'), { train: { red: 18, blue: 17 }, val: { red: 2, blue: 2 } });
    const { result, said } = await run(images, { batch: 10 });
    expect(said).toContain('leaves out 1 of 31 training images');
    expect(result.droppedImages).toBe(1);
  });

  test('fewer images than a batch', async () => {
    const images = await writeImages(join(folder, 'few'), { '': { red: 10, blue: 10 } });
    const { result, said } = await run(images);
    expect(said).toMatch(/The training set has 1\d images: every step takes all of them \(--batch 32 is more\)/);
    expect(result.droppedImages).toBe(0);
    expect(result.steps).toBe(6);
  });

  test('one image for each class', async () => {
    const images = await writeImages(join(folder, 'least'), { '': { red: 1, blue: 1 } });
    const { result } = await run(images);
    expect(result.accuracy.onnx.images).toBe(2);
  });

  test('a batch of one is refused where normalisation sees a single value', async () => {
    const place = scratch();
    const error = await refusal(
      prune({ ...settings, data: join(folder, 'few'), steps: 6, batch: 1, out: join(place, 'run') }),
    );
    expect([error.code, error.exitCode]).toEqual(['E_BATCH_OF_ONE', 1]);
    expect(error.message).toMatch(/BatchNormalization_\d.*--batch 2/);
  });
});

test('a search whose masks never move says so', async () => {
  const run = async (maskEvery: number) =>
    ((await prune({ ...tiny, steps: 10, maskEvery, out: join(scratch(), 'run') })) as PruneResult).notes.join(' ');
  expect(await run(100)).toMatch(/The masks never move: none of the 10 steps .*--mask-every 100/);
  expect(await run(2)).not.toContain('never move');
});

describe('going on with other settings (huggingface/transformers#18070)', () => {
  const folder = scratch();
  const images = join(folder, 'photos');
  const out = join(folder, 'run');
  const stopped = join(folder, 'stopped');
  const settings = { model: 'resnet8', width: 4, flops: 0.5, batch: 16, threads: 1, data: images, epochs: 2 } as const;

  test('a run of two epochs, to its end and to the middle', async () => {
    await writeImages(images, { train: { red: 20, blue: 20 }, val: { red: 4, blue: 4 } });
    const result = (await prune({ ...settings, out })) as PruneResult;
    expect(result).toMatchObject({ epochs: 2, steps: 4 });
    expect(await prune({ ...settings, out: stopped }, recording(event => event.step === 2).context)).toMatchObject({
      step: 2,
    });
  });

  test.each([
    ['--epochs', { epochs: 4 }, /--epochs 4 \(the run has 2\)/],
    ['--steps', { steps: 400 }, /--steps 400 \(the run has 4\)/],
    ['--batch', { batch: 8 }, /--batch 8 \(the run has 16\)/],
    [
      '--lr and --seed',
      { lr: 0.3, seed: 5 },
      /--lr 0\.3 \(the run has 0\.1\), --seed 5 \(the run has 0\)|--seed 5 .*--lr 0\.3/,
    ],
    ['--flops', { flops: 0.4 }, /--flops 0\.4 \(the run has 0\.5\)/],
    ['--method', { method: 'dmp' as const }, /--method "dmp" \(the run has "s2h"\)/],
    ['--mean', { mean: [0.5] }, /--mean \[0\.5\] \(the run has none\)/],
    ['the model', { model: 'resnet20' }, /the model "resnet20" \(the run has "resnet8"\)/],
  ])('%s is refused by name', async (_, change, words) => {
    for (const run of [out, stopped]) {
      const error = await refusal(prune({ resume: run, ...change }));
      expect([error.code, error.exitCode]).toEqual(['E_RESUME_SETTING', 2]);
      expect(error.message).toMatch(words);
      expect(error.message).toContain(`start a new run from ${join(run, run === out ? 'trained' : 'start')}.onnx`);
    }
  });

  test('a network of which a part was trained alone is no start', async () => {
    const alone = join(folder, 'alone');
    await prune({ ...settings, epochs: undefined, steps: 2, method: 'uniform', out: alone });
    const error = await refusal(prune({ resume: alone, steps: 9 }));
    expect(error.message).toContain(`start a new run from ${join(alone, 'start.onnx')}`);
  });

  test('what equals the run is no change', async () => {
    expect(await prune({ resume: out, ...settings })).toMatchObject({ steps: 4 });
  });

  test('--threads: refused when the run has ended, honoured and listed before', async () => {
    expect((await refusal(prune({ resume: out, threads: 2 }))).message).toMatch(
      /has ended.*--threads 2 \(the run has 1\)/,
    );
    const { said, context } = recording();
    const result = (await prune({ resume: stopped, threads: 2 }, context)) as PruneResult;
    expect(result).toMatchObject({ steps: 4, threads: 2, threadsWhy: '--threads' });
    expect(said.join('\n')).toContain(
      '--threads is 2 now (the run began with 1): the result may differ in the last bits.',
    );
    expect(result.notes.join()).toContain('--threads is 2 now');
  });

  test('the learning rate never stands at zero', () => {
    for (const run of [out, stopped]) {
      const rates = readJsonLines(join(run, 'events.jsonl')).flatMap(event =>
        event.type === 'step' ? [event.learningRate] : [],
      );
      expect(rates).toHaveLength(4);
      expect(Math.min(...(rates as number[]))).toBeGreaterThan(0.005);
    }
  });

  test('images that have only moved are taken', async () => {
    const moved = join(folder, 'moved photos');
    const run = join(folder, 'moved');
    await prune({ ...settings, out: run }, recording(event => event.step === 2).context);
    renameSync(images, moved);
    const { said, context } = recording();
    expect(await prune({ resume: run, data: moved }, context)).toMatchObject({ steps: 4 });
    renameSync(moved, images);
    expect(said.join('\n')).toContain(`--data is ${moved} now`);
  });

  test('a run that began with relative paths goes on from another folder', async () => {
    const [home, run] = [process.cwd(), join(folder, 'relative')];
    process.chdir(folder);
    try {
      const begun = { ...settings, data: relative(folder, images), out: 'relative' };
      await prune(begun, recording(event => event.step === 2).context);
      process.chdir(tmpdir());
      expect(await prune({ resume: run })).toMatchObject({ steps: 4, data: images });
    } finally {
      process.chdir(home);
    }
  });

  test('images of a network that leaves one side open are the same ones', async () => {
    const model = join(folder, 'open.onnx');
    writeModel(pooledNet(20, 'W'), model);
    const run = join(folder, 'open');
    const { width: _, ...rest } = settings;
    const begun = { ...rest, model, untrained: true, flops: 0.6, out: run };
    expect(await prune(begun, recording(event => event.step === 2).context)).toMatchObject({ step: 2 });
    expect(await prune({ resume: run })).toMatchObject({ steps: 4 });
  });

  test('a changed image is seen', async () => {
    const run = join(folder, 'changed');
    await prune({ ...settings, out: run }, recording(event => event.step === 2).context);
    const path = join(images, 'train', 'red', 'train3.png');
    await writeImage(path, 'red', 99);
    const error = await refusal(prune({ resume: run }));
    expect([error.code, error.exitCode]).toEqual(['E_DATA_CHANGED', 1]);
    expect(error.message).toMatch(/images were added, removed or changed/);
    utimesSync(path, new Date(), new Date(0)); // the same bytes with another time count as changed too
    expect((await refusal(prune({ resume: run }))).code).toBe('E_DATA_CHANGED');
  });

  test('a class more is an error that names it', async () => {
    await writeImages(images, { train: { green: 2 }, val: { green: 2 } });
    const error = await refusal(prune({ resume: join(folder, 'changed') }));
    expect(error.code).toBe('E_DATA_CHANGED');
    expect(error.message).toContain('new classes green');
  });

  test('the result of a run that has ended needs no images', async () => {
    const moved = join(folder, 'other photos');
    renameSync(images, moved);
    expect(await prune({ resume: out })).toEqual(JSON.parse(readFileSync(join(out, 'result.json'), 'utf8')));
    expect(readdirSync(out)).not.toContain('run.lock');
    expect((await refusal(prune({ resume: out, data: moved }))).code).toBe('E_DATA_CHANGED');
    renameSync(moved, images);
  });
});
