import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { afterStep, data, hashes, log, recording, refusal, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const folder = scratch();

/** A file system of its own in memory; null where this user may mount none. */
function smallDisk(bytes: number): string | null {
  const place = join(folder, 'disk');
  mkdirSync(place);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', place], { stdio: 'ignore' });
    return place;
  } catch {
    return null;
  }
}

const disk = smallDisk(8 << 20);
afterAll(() => {
  if (disk) execFileSync('umount', ['-l', disk]);
});

/** Leave so many bytes. */
function fill(bytes: number): void {
  const { bavail, bsize } = statfsSync(disk!);
  writeFileSync(join(disk!, 'ballast'), Buffer.alloc(bavail * bsize - bytes));
}
const free = () => rmSync(join(disk!, 'ballast'));

/** A checkpoint of it has 0.4 MB. */
const settings = { model: 'mlp-200-100', data, flops: 0.5, batch: 16, threads: 1, steps: 20 } as const;

test.skipIf(!disk)(
  'the disk is full at a save: an error with path and bytes, and nothing that was saved is lost',
  async () => {
    const [whole, out] = [join(folder, 'whole'), join(disk!, 'run')];
    await prune({ ...settings, out: whole });

    // Room for a few lines of the log, not for a checkpoint.
    const { context } = recording(event => {
      if (afterStep(5)(event)) fill(100_000);
      return event.type === 'step' && event.step === 12;
    });
    const error = await refusal(prune({ ...settings, out }, context));
    expect([error.code, error.exitCode]).toEqual(['E_WRITE', 1]);
    expect(error.message).toMatch(/Could not write \d{6} bytes to .*checkpoint-12\.safetensors: ENOSPC/);
    expect(readdirSync(out).sort()).toEqual([
      'checkpoint-1.safetensors',
      'checkpoint.json',
      'config.json',
      'events.jsonl',
      'start.onnx',
    ]);
    expect(JSON.parse(readFileSync(join(out, 'checkpoint.json'), 'utf8'))).toMatchObject({
      step: 1,
      file: 'checkpoint-1.safetensors',
    });

    // Still full: the same, and still nothing lost.
    expect((await refusal(prune({ resume: out }))).code).toBe('E_WRITE');
    free();

    // Full again when the result is written.
    const atEnd = recording(event => {
      if (event.type === 'evaluation' && event.step === 20) fill(50_000);
      return false;
    });
    const late = await refusal(prune({ resume: out }, atEnd.context));
    expect([late.code, late.exitCode]).toEqual(['E_WRITE', 1]);
    expect(late.message).toMatch(/\d+ bytes to .*trained\.onnx/);
    free();

    await prune({ resume: out });
    expect(hashes(out)).toEqual(hashes(whole));
    expect(log(out)).toEqual(log(whole));
  },
);

test.skipIf(!disk)('no room for a single line of the log', async () => {
  const out = join(disk!, 'log');
  const { context } = recording(event => {
    if (afterStep(5)(event)) fill(0);
    return false;
  });
  const error = await refusal(prune({ ...settings, steps: 400, out }, context));
  expect([error.code, error.exitCode]).toEqual(['E_WRITE', 1]);
  expect(error.message).toMatch(/\d+ bytes to .*events\.jsonl/);
  free();
  expect(await prune({ resume: out }, recording(afterStep(30)).context)).toMatchObject({ step: 30 });
  expect(
    log(out)
      .filter(({ type }) => type === 'step')
      .map(({ step }) => step),
  ).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
});

test.skipIf(!disk)('too little room is seen before anything is trained', async () => {
  fill(600_000);
  const { events, context } = recording();
  const error = await refusal(prune({ ...settings, out: join(disk!, 'small') }, context));
  expect([error.code, error.exitCode]).toEqual(['E_DISK_SPACE', 1]);
  expect(error.message).toMatch(/needs about \d\.\d+ MB in .*, (59|60)\d kB are free/);
  expect(events).toEqual([]);
  expect(readdirSync(disk!)).not.toContain('small');
  free();
  // What it asks for is enough.
  fill(Number(/about (\d\.\d+) MB/.exec(error.message)![1]) * 1e6 + 10_000);
  expect(await prune({ ...settings, out: join(disk!, 'small') })).toMatchObject({ steps: 20 });
  free();
});

test('more room than any disk has is refused too', async () => {
  const out = join(folder, 'large');
  const error = await refusal(prune({ ...tiny, steps: 2 ** 53 - 1, out }));
  expect(error.code).toBe('E_DISK_SPACE');
  expect(readdirSync(folder)).not.toContain('large');
});
