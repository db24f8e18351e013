import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { command as trainCommand } from '../../src/commands/train.ts';
import { openEngine } from '../../src/torch/index.ts';
import { afterStep, hashes, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const train = callable(trainCommand);
const settings = { ...tiny, steps: 10, searchFrom: 0.2 };

test('events go to the callback, one for every step, and the result is plain data', async () => {
  const { events, said, context } = recording();
  const result = (await prune({ ...settings, out: join(scratch(), 'run') }, context)) as PruneResult;
  const steps = events.filter(({ type }) => type === 'step');
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(events.filter(({ type }) => type === 'evaluation').map(({ step }) => step)).toEqual([8, 10]);
  expect(events.filter(({ type }) => type === 'checkpoint').map(({ step }) => step)).toEqual([1, 10]);
  for (const name of ['L', 'G', 'R', 'ratio', 'learningRate', 'imagesPerSecond'])
    expect(steps[0][name]).toBeTypeOf('number');
  expect(said[0]).toMatch(/: 10 steps of 16 images\.$/);
  expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  expect(result.macs.ratio).toBeLessThanOrEqual(0.5);
});

test('what is left undefined in the context is left out', async () => {
  const nothing = { onEvent: undefined, say: undefined, signal: undefined, setup: undefined };
  const result = await prune({ ...settings, steps: 2, out: join(scratch(), 'run') }, nothing);
  expect(result).toMatchObject({ steps: 2 });
});

test('the event loop has a turn at every step', async () => {
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  const turnsAt: number[] = [];
  setImmediate(turn);
  await prune(
    { ...settings, out: join(scratch(), 'run') },
    {
      onEvent: event => {
        if (event.type === 'step') turnsAt.push(turns);
      },
    },
  );
  running = false;
  expect(turnsAt).toHaveLength(10);
  for (let i = 1; i < turnsAt.length; i++) expect(turnsAt[i]).toBeGreaterThan(turnsAt[i - 1]);
});

test('an AbortSignal stops the run after the step at hand, with any reason', async () => {
  for (const reason of [undefined, new Error('enough'), 'enough']) {
    const controller = new AbortController();
    const out = join(scratch(), 'run');
    const result = await prune(
      { ...settings, out },
      {
        signal: controller.signal,
        onEvent: event => {
          if (afterStep(5)(event)) controller.abort(reason);
        },
      },
    );
    expect(result).toEqual({ stopped: true, step: 5, steps: 10, directory: out, resume: `s2h prune --resume ${out}` });
    expect(readdirSync(out)).toContain('checkpoint-5.safetensors');
    expect(readdirSync(out)).not.toContain('run.lock');
  }
});

test('runs in one process do not depend on each other, and leave no tensor behind', async () => {
  const torch = await openEngine();
  const folder = scratch();
  let most = 0;
  await prune(
    { ...settings, out: join(folder, 'first') },
    { onEvent: () => (most = Math.max(most, torch.liveTensors())) },
  );
  expect(most).toBeGreaterThan(50);
  const live = torch.liveTensors();
  await prune({ ...settings, out: join(folder, 'other'), seed: 1, optimizer: 'adamw', method: 'dmp' });
  await prune({ ...settings, out: join(folder, 'stopped') }, recording(afterStep(4)).context);
  const { flops: _, searchFrom: _from, ...plain } = settings;
  await train({ ...plain, out: join(folder, 'trained') });
  await prune({
    ...plain,
    width: undefined,
    flops: 0.5,
    model: join(folder, 'trained', 'trained.onnx'),
    labels: 'none',
    out: join(folder, 'imitated'),
  });
  await refusal(prune({ ...settings, lr: 1e30, out: join(folder, 'broken') }));
  await prune({ ...settings, out: join(folder, 'again') });
  expect(torch.liveTensors()).toBe(live);
  expect(live).toBe(0);
  expect(hashes(join(folder, 'again'))).toEqual(hashes(join(folder, 'first')));
});

test('the threads of a run do not reach into the next one', async () => {
  const threadsOf = async (threads: number | undefined) => {
    const { threads: _, ...options } = settings;
    return ((await prune({ ...options, steps: 2, threads, out: join(scratch(), 'run') })) as PruneResult).threads;
  };
  const all = await threadsOf(undefined);
  expect(await threadsOf(all + 1)).toBe(all + 1);
  expect(await threadsOf(undefined)).toBe(all);
});

test('nothing is printed', async () => {
  const source = (path: string) => JSON.stringify(pathToFileURL(resolve(import.meta.dirname, '../..', path)).href);
  const out = join(scratch(), 'run');
  const program = `
    import { callable } from ${source('src/commands/command.ts')};
    import { command } from ${source('src/commands/prune.ts')};
    await callable(command)(${JSON.stringify({ ...settings, steps: 4, out })});
    process.exit(0);
  `;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: resolve(import.meta.dirname, '../..'),
  });
  let printed = '';
  child.stdout.on('data', chunk => (printed += chunk));
  child.stderr.on('data', chunk => (printed += chunk));
  const code = await new Promise(done => child.on('close', done));
  expect([code, printed]).toEqual([0, '']);
  expect(readdirSync(out)).toContain('result.json');
});
