import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as pruneCommand } from '../../src/commands/prune.ts';
import { stream } from '../../src/util/random.ts';
import { afterStep, data, hashes, log, recording, scratch, tiny } from './support.ts';

// Latency is measured for seconds, and is not what these tests are about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return { measureLatency: (paths: string[]) => measureLatency(paths, { runs: 1, batches: [1], threads: [1] }) };
});

const prune = callable(pruneCommand);
const root = resolve(import.meta.dirname, '../..');

/** Its steps take about as long as writing its checkpoints, so that many kills hit one. */
const settings = { model: 'mlp-512-256', data, flops: 0.5, batch: 16, threads: 1, steps: 40 };

/** Start the process on a run, new or to go on, and kill it after a number of saves and some milliseconds. */
async function killed(options: object, saves: number, milliseconds: number): Promise<{ ended: boolean; err: string }> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', join(import.meta.dirname, 'kill-child.ts'), JSON.stringify(options)],
    { cwd: root },
  );
  let out = '';
  let err = '';
  child.stderr.on('data', chunk => (err += chunk));
  const enough = new Promise<void>(done =>
    child.stdout.on('data', chunk => {
      out += chunk;
      if (out.split('\n').filter(line => line.startsWith('checkpoint')).length >= saves) done();
    }),
  );
  const closed = new Promise<number | null>(done => child.on('close', done));
  await Promise.race([enough, closed]);
  await sleep(milliseconds);
  child.kill('SIGKILL');
  return { ended: (await closed) === 0, err };
}

test('kill -9 at random moments, also while it saves: the run goes on and ends with the same bytes', async () => {
  const seed = Number(process.env.S2H_SEED ?? Date.now() % 2 ** 32);
  const random = stream(seed, 'kill');
  const folder = scratch();
  const [whole, out] = [join(folder, 'whole'), join(folder, 'parts')];
  await prune({ ...settings, out: whole });
  const moments: string[] = [];
  for (let kill = 0; kill < 3; kill++) {
    const options = existsSync(join(out, 'config.json')) ? { resume: out } : { ...settings, out };
    const [saves, milliseconds] = [random.int(12), random.uniform() * 30];
    const { ended, err } = await killed(options, saves, milliseconds);
    expect(err, `seed ${seed}`).toBe('');
    moments.push(
      `${ended ? 'ended' : 'killed'} ${saves} saves + ${milliseconds.toFixed(1)} ms: ${readdirSync(out).join(' ')}`,
    );
  }
  const said = `S2H_SEED=${seed}\n${moments.join('\n')}`;
  await prune(existsSync(join(out, 'config.json')) ? { resume: out } : { ...settings, out });
  expect(hashes(out), said).toEqual(hashes(whole));
  expect(log(out), said).toEqual(log(whole));
  const rest = (run: string) => readdirSync(run).filter(file => !file.startsWith('checkpoint-'));
  expect(rest(out).sort(), said).toEqual(rest(whole).sort());
});

test('Ctrl-C saves, says how to go on, and has its exit status', async () => {
  const out = join(scratch(), 'run');
  const args = [
    'prune',
    settings.model,
    '--data',
    data,
    '--flops',
    '0.5',
    '--batch',
    '16',
    '--steps',
    '100000',
    '--out',
    out,
    '--json',
  ];
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/bin.ts', ...args], { cwd: root });
  let printed = '';
  let err = '';
  child.stderr.on('data', chunk => (err += chunk));
  child.stdout.on('data', chunk => {
    if (!printed.includes('"step":3,') && `${printed}${chunk}`.includes('"step":3,')) child.kill('SIGINT');
    printed += chunk;
  });
  expect(await new Promise(done => child.on('close', done)), err).toBe(130);
  const { step, ...result } = JSON.parse(printed.trim().split('\n').at(-1)!);
  expect(result).toEqual({
    type: 'result',
    stopped: true,
    steps: 100_000,
    directory: out,
    resume: `s2h prune --resume ${out}`,
  });
  expect(readdirSync(out)).toContain(`checkpoint-${step}.safetensors`);
});

/** Linux gives process numbers up to 2^22. */
const lockOf = (pid: number, started: string | null): string => JSON.stringify({ host: hostname(), pid, started });

test('every state that a killed save can leave', async () => {
  const folder = scratch();
  const whole = join(folder, 'whole');
  await prune({ ...tiny, steps: 12, out: whole });
  const states: Record<string, (out: string) => void> = {
    'a half-written checkpoint': out => writeFileSync(join(out, 'checkpoint-9.safetensors.tmp-4000000'), 'half'),
    'a whole checkpoint that is not yet named': out =>
      copyFileSync(join(out, 'checkpoint-7.safetensors'), join(out, 'checkpoint-9.safetensors')),
    'a half-written list': out => writeFileSync(join(out, 'checkpoint.json.tmp-4000000'), '{"format"'),
    'an older checkpoint that is not yet removed': out => writeFileSync(join(out, 'checkpoint-0.safetensors'), 'old'),
    'a torn line in the log': out =>
      writeFileSync(join(out, 'events.jsonl'), '{"type":"step","step":8,"L":', { flag: 'a' }),
    'the lock of a process that is gone': out => writeFileSync(join(out, 'run.lock'), lockOf(2 ** 23, null)),
    'the lock of a process whose number another has now': out =>
      writeFileSync(join(out, 'run.lock'), lockOf(process.ppid, '1')),
  };
  for (const [name, make] of Object.entries(states)) {
    const out = join(folder, name);
    await prune({ ...tiny, steps: 12, out }, recording(afterStep(7)).context);
    make(out);
    await prune({ resume: out });
    expect(hashes(out), name).toEqual(hashes(whole));
    expect(log(out), name).toEqual(log(whole));
    expect(
      readdirSync(out).filter(file => /tmp|lock/.test(file)),
      name,
    ).toEqual([]);
    expect(
      readdirSync(out)
        .filter(file => file.startsWith('checkpoint-'))
        .sort(),
      name,
    ).toEqual(['checkpoint-12.safetensors', 'checkpoint-7.safetensors']);
  }
});
