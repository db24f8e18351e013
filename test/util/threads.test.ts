import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { allowedThreads } from '../../src/util/threads.ts';

/** A folder that stands for `/`, with these files. */
function root(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 's2h-threads-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const threads = (cpus: number, files: Readonly<Record<string, string>>, env: NodeJS.ProcessEnv = {}) =>
  allowedThreads(cpus, root(files), env);

test('without a control group the affinity mask decides', () => {
  expect(threads(8, {})).toEqual({ threads: 8, why: '8 available processors' });
  expect(threads(1, {})).toEqual({ threads: 1, why: '1 available processor' });
});

test('a quota of version 2 bounds the threads, "max" does not', () => {
  const group = { 'proc/self/cgroup': '0::/\n' };
  expect(threads(8, { ...group, 'sys/fs/cgroup/cpu.max': '200000 100000\n' })).toEqual({
    threads: 2,
    why: 'CPU quota of 2 processors',
  });
  expect(threads(8, { ...group, 'sys/fs/cgroup/cpu.max': 'max 100000\n' }).threads).toBe(8);
  expect(threads(2, { ...group, 'sys/fs/cgroup/cpu.max': '400000 100000\n' }).threads).toBe(2);
});

test('the least quota along the path of groups counts', () => {
  const files = {
    'proc/self/cgroup': '0::/user.slice/app.scope\n',
    'sys/fs/cgroup/user.slice/cpu.max': '300000 100000\n',
    'sys/fs/cgroup/user.slice/app.scope/cpu.max': '600000 100000\n',
  };
  expect(threads(16, files).threads).toBe(3);
});

test('a quota of version 1 bounds the threads, -1 does not', () => {
  const group = { 'proc/self/cgroup': '5:memory:/a\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n' };
  // In a container the path of the group is the host's; what is mounted is the group itself.
  const quota = (us: string) => ({
    ...group,
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': us,
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
  });
  expect(threads(8, quota('400000\n')).threads).toBe(4);
  expect(threads(8, quota('-1\n')).threads).toBe(8);
});

test('parts of a processor are rounded, and one thread is the least', () => {
  const quota = (us: number) => ({ 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': `${us} 100000\n` });
  expect(threads(8, quota(10_000)).threads).toBe(1);
  expect(threads(8, quota(140_000)).threads).toBe(1);
  expect(threads(8, quota(150_000))).toEqual({ threads: 2, why: 'CPU quota of 1.5 processors' });
});

test('OMP_NUM_THREADS bounds the threads', () => {
  expect(threads(8, {}, { OMP_NUM_THREADS: '3' })).toEqual({ threads: 3, why: 'OMP_NUM_THREADS=3' });
  expect(threads(8, {}, { OMP_NUM_THREADS: '4,2' }).threads).toBe(4);
  expect(threads(8, {}, { OMP_NUM_THREADS: '16' }).threads).toBe(8);
  expect(threads(8, {}, { OMP_NUM_THREADS: 'many' }).threads).toBe(8);
});

test.skipIf(!existsSync('/usr/bin/taskset'))(
  'the affinity mask of this process is seen (skipped without taskset)',
  async () => {
    const module = new URL('../../src/util/threads.ts', import.meta.url).pathname;
    const script = `import { allowedThreads } from ${JSON.stringify(module)}; process.stdout.write(String(allowedThreads().threads));`;
    const args = ['-c', '0', process.execPath, '--import', 'tsx', '--input-type=module', '-e', script];
    const { stdout } = await promisify(execFile)('taskset', args);
    expect(stdout).toBe('1');
  },
);
