import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { isLockFile, tryLock, waitForLock, withCacheLock } from '../../src/util/lock.ts';

/** What happens right before a file is linked or renamed: what another process does in that moment. */
const meanwhile = vi.hoisted(() => ({
  link: (_to: string): void => {},
  rename: (_from: string): void => {},
}));
vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>();
  return {
    ...fs,
    linkSync(from: string, to: string) {
      meanwhile.link(to);
      fs.linkSync(from, to);
    },
    renameSync(from: string, to: string) {
      meanwhile.rename(from);
      fs.renameSync(from, to);
    },
  };
});

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 's2h-lock-'));
  path = join(folder, 'lock');
});
afterEach(() => {
  meanwhile.link = () => {};
  meanwhile.rename = () => {};
  rmSync(folder, { recursive: true });
});

const lockOf = (more: object): string => JSON.stringify({ host: hostname(), started: null, id: 'other', ...more });
/** Linux gives process numbers up to 2^22. */
const dead = lockOf({ pid: 2 ** 23, id: 'dead' });
const living = lockOf({ pid: process.ppid });
const age = (seconds: number, file = path) => {
  const then = new Date(Date.now() - 1000 * seconds);
  utimesSync(file, then, then);
};
const taken = (...rest: [number?]): (() => void) => {
  const { release } = tryLock(path, ...rest);
  if (!release) throw new Error('it was not taken');
  return release;
};

test('one at a time, in the same process too; nothing stays', () => {
  const release = taken();
  expect(readdirSync(folder)).toEqual(['lock']);
  expect(tryLock(path)).toMatchObject({ release: null, owner: { pid: process.pid, host: hostname() } });
  release();
  expect(readdirSync(folder)).toEqual([]);
  const again = taken();
  release(); // not its lock any more
  expect(existsSync(path)).toBe(true);
  again();
});

test('the lock of a living process is left alone, that of a dead one is taken over', () => {
  writeFileSync(path, living);
  expect(tryLock(path)).toMatchObject({ release: null, owner: { pid: process.ppid } });
  expect(readFileSync(path, 'utf8')).toBe(living);
  for (const gone of [
    dead,
    lockOf({ pid: process.ppid, started: '1' }), // its number is another's now
    lockOf({ pid: process.pid, started: '1' }),
    JSON.stringify({ host: hostname(), pid: 2 ** 23 }),
  ]) {
    writeFileSync(path, gone);
    taken()();
    expect(readdirSync(folder)).toEqual([]);
  }
});

test('of another machine nothing is known: its lock counts until it has the age asked for', () => {
  writeFileSync(path, lockOf({ pid: 2 ** 23, host: `not-${hostname()}` }));
  age(4000);
  expect(tryLock(path)).toMatchObject({ release: null, owner: { host: `not-${hostname()}` } });
  expect(tryLock(path, 5_000_000).release).toBe(null);
  taken(3_600_000)();
});

test('of two that find a dead lock the second does not remove the lock of the first', () => {
  writeFileSync(path, dead);
  // The other one was quicker, and has its lock there before this one removes what it has seen.
  meanwhile.link = to => {
    if (to.endsWith('.takeover')) writeFileSync(path, living);
  };
  expect(tryLock(path)).toMatchObject({ release: null, owner: { pid: process.ppid } });
  expect(readFileSync(path, 'utf8')).toBe(living);
  expect(readdirSync(folder)).toEqual(['lock']);
});

test('while another process takes a dead lock over, nobody else does', () => {
  writeFileSync(path, dead);
  writeFileSync(`${path}.takeover`, living);
  expect(tryLock(path).release).toBe(null);
  expect(readFileSync(path, 'utf8')).toBe(dead);
  expect(readFileSync(`${path}.takeover`, 'utf8')).toBe(living);
});

test("a process that was killed while it took a lock over is in nobody's way", () => {
  writeFileSync(path, dead);
  writeFileSync(`${path}.takeover`, dead);
  taken()();
  expect(readdirSync(folder)).toEqual([]);

  // Another takes the dead one's place at the very moment: it is put back.
  writeFileSync(path, dead);
  writeFileSync(`${path}.takeover`, dead);
  meanwhile.rename = from => {
    if (from.endsWith('.takeover')) writeFileSync(from, living);
  };
  expect(tryLock(path).release).toBe(null);
  expect(readFileSync(`${path}.takeover`, 'utf8')).toBe(living);
  expect(readdirSync(folder).sort()).toEqual(['lock', 'lock.takeover']);
});

test('without links: a lock that says nothing yet is one, until it is old', () => {
  meanwhile.link = () => {
    throw Object.assign(new Error('EPERM'), { code: 'EPERM' });
  };
  const release = taken();
  expect(tryLock(path).release).toBe(null);
  release();
  for (const half of ['', '{"host":"a']) {
    writeFileSync(path, half);
    expect(tryLock(path)).toEqual({ release: null, owner: null });
    age(11);
    taken()();
  }
  writeFileSync(path, dead);
  taken()();
  expect(readdirSync(folder)).toEqual([]);
});

test('waiting is told once, ends when the lock is free, and can be given up', async () => {
  const release = taken();
  const told: string[] = [];
  const waited = waitForLock(path, {
    waiting() {
      told.push('waiting');
      setTimeout(release, 250);
    },
  });
  const second = await waited;
  expect(told).toEqual(['waiting']);
  const stop = new AbortController();
  await expect(waitForLock(path, { signal: stop.signal, waiting: () => stop.abort() })).rejects.toThrow('abort');
  second();
});

test('a lock in the cache makes its folder, is released after a failure, and says where it cannot be', async () => {
  const below = join(folder, 'a', 'b.lock');
  const failing = withCacheLock(below, {}, async () => {
    expect(existsSync(below)).toBe(true);
    throw new Error('work');
  });
  await expect(failing).rejects.toThrow('work');
  expect(existsSync(below)).toBe(false);
  writeFileSync(join(folder, 'file'), '');
  const nowhere = withCacheLock(join(folder, 'file', 'lock'), {}, async () => {});
  await expect(nowhere).rejects.toMatchObject({ code: 'E_WRITE', where: join(folder, 'file') });
});

test('the names of a lock', () => {
  const names = ['run.lock', 'run.lock.tmp-12', 'run.lock.takeover', 'run.lock.takeover.tmp-3'];
  expect(names.filter(name => isLockFile(name, 'run.lock'))).toEqual(names);
  for (const name of ['run.lock.txt', 'run.lock.tmp-', 'my.run.lock', 'run.locks']) {
    expect(isLockFile(name, 'run.lock'), name).toBe(false);
  }
});
