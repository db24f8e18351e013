import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { allowedThreads } from '../../src/util/threads.ts';
import { data, scratch } from './support.ts';

const root = resolve(import.meta.dirname, '../..');
const hasTaskset = spawnSync('taskset', ['-c', '0', 'true']).status === 0;

/** The command line on the first processor alone. */
async function onOneProcessor(...args: string[]) {
  const bin = join(root, 'src/cli/bin.ts');
  const { OMP_NUM_THREADS: _, ...env } = process.env;
  const child = spawn('taskset', ['-c', '0', process.execPath, '--import', 'tsx', bin, ...args, '--json'], {
    cwd: root,
    env,
  });
  let out = '';
  let err = '';
  child.stdout.on('data', chunk => (out += chunk));
  child.stderr.on('data', chunk => (err += chunk));
  const code = await new Promise(done => child.on('close', done));
  return { code, err, result: () => JSON.parse(out.startsWith('{\n') ? out : out.trim().split('\n').at(-1)!) };
}

describe('threads follow the affinity mask (microsoft/onnxruntime#10113, #8313)', () => {
  test.skipIf(!hasTaskset)(
    'prune and eval on one processor: one thread, the reason in the result, and nothing about pinning',
    async () => {
      const out = join(scratch(), 'run');
      const pruned = await onOneProcessor(
        'prune',
        'mlp-24',
        '--data',
        data,
        '--flops',
        '0.5',
        '--steps',
        '4',
        '--batch',
        '16',
        '--out',
        out,
      );
      expect(pruned.code, pruned.err).toBe(0);
      const { threads, threadsWhy, latency } = pruned.result();
      expect([threads, threadsWhy]).toEqual([1, '1 available processor']);
      expect(latency.map((row: { threads: number }) => row.threads)).toEqual([1, 1]);
      expect(pruned.err).not.toMatch(/affinity|pin|pthread/i);

      const evaluated = await onOneProcessor('eval', join(out, 'pruned.onnx'), '--data', data);
      expect([evaluated.code, evaluated.err]).toEqual([0, '']);
      expect(evaluated.result()).toMatchObject({ threads: 1, threadsWhy: '1 available processor' });
    },
  );
});

describe('threads follow the CPU quota (ollama/ollama#17916)', () => {
  /** A folder that stands for `/`. */
  const machine = (files: Readonly<Record<string, string>>): string => {
    const folder = scratch();
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    return folder;
  };
  const cpu = 'sys/fs/cgroup/cpu,cpuacct';

  test.each<[string, Record<string, string>, number, RegExp]>([
    ['none', {}, 8, /^8 available processors$/],
    [
      'version 2, one processor',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '100000 100000\n' },
      1,
      /^CPU quota of 1 processors$/,
    ],
    [
      'version 2, one and a half',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '150000 100000\n' },
      2,
      /quota of 1\.5/,
    ],
    [
      'version 2, a tenth',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '10000 100000\n' },
      1,
      /quota of 0\.1/,
    ],
    [
      'version 2, unlimited',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'max 100000\n' },
      8,
      /8 available/,
    ],
    [
      'version 2, of a group above',
      {
        'proc/self/cgroup': '0::/a/b\n',
        'sys/fs/cgroup/a/cpu.max': '300000 100000\n',
        'sys/fs/cgroup/a/b/cpu.max': 'max 100000\n',
      },
      3,
      /quota of 3/,
    ],
    [
      'version 2, more than there are',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '6400000 100000\n' },
      8,
      /8 available/,
    ],
    [
      'version 1',
      {
        'proc/self/cgroup': '4:cpu,cpuacct:/docker/x\n1:name=systemd:/y\n',
        [`${cpu}/cpu.cfs_quota_us`]: '250000\n',
        [`${cpu}/cpu.cfs_period_us`]: '100000\n',
      },
      3,
      /quota of 2\.5/,
    ],
    [
      'version 1, unlimited',
      {
        'proc/self/cgroup': '4:cpu,cpuacct:/\n',
        [`${cpu}/cpu.cfs_quota_us`]: '-1\n',
        [`${cpu}/cpu.cfs_period_us`]: '100000\n',
      },
      8,
      /8 available/,
    ],
  ])('%s', (_, files, threads, why) => {
    const limit = allowedThreads(8, machine(files), {});
    expect(limit.threads).toBe(threads);
    expect(limit.why).toMatch(why);
  });

  test('OMP_NUM_THREADS lowers it, and never raises it', () => {
    const root = machine({});
    expect(allowedThreads(4, root, { OMP_NUM_THREADS: '2' })).toEqual({ threads: 2, why: 'OMP_NUM_THREADS=2' });
    expect(allowedThreads(4, root, { OMP_NUM_THREADS: '3,2' }).threads).toBe(3);
    expect(allowedThreads(4, root, { OMP_NUM_THREADS: '16' }).threads).toBe(4);
    expect(allowedThreads(4, root, { OMP_NUM_THREADS: 'many' }).threads).toBe(4);
  });
});
