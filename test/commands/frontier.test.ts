import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import type { FrontierResult } from '../../src/commands/frontier.ts';
import type { PruneResult } from '../../src/commands/outcome.ts';
import { command } from '../../src/commands/prune.ts';
import { recording, refusal, scratch, tiny } from './support.ts';

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
  expect(stopped).toMatchObject({ stopped: true, directory: out, resume: `s2h prune --resume ${out}` });
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
});

test('a folder that holds something is not taken', async () => {
  const out = scratch();
  await prune({ ...tiny, steps: 2, out: join(out, 'a') });
  expect((await refusal(prune({ ...tiny, flops: [0.3, 0.6], out: join(out, 'a') }))).code).toBe('E_RUN_EXISTS');
});
