import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { lockPath, withLock } from '../../scripts/lock.mjs';

/** What another process does right before a file is linked. */
const meanwhile = vi.hoisted(() => ({ link: (_to: string): void => {} }));
vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>();
  return {
    ...fs,
    linkSync(from: string, to: string) {
      meanwhile.link(to);
      fs.linkSync(from, to);
    },
  };
});

let root = '';
let path = '';
/** What this is told that it waits for; the other one ends while it waits. */
let said: string[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 's2h-lock-'));
  path = lockPath(root);
  said = [];
  vi.spyOn(process.stderr, 'write').mockImplementation(text => {
    said.push(`${text}${existsSync(path) ? readFileSync(path, 'utf8') : ''}`);
    rmSync(path, { force: true });
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  meanwhile.link = () => {};
  rmSync(root, { recursive: true });
  rmSync(path, { force: true });
});

const beside = () => readdirSync(dirname(path)).filter(name => name.startsWith(basename(path)));
/** Linux gives process numbers up to 2^22. */
const dead = `${2 ** 23} dead\n`;
const living = `${process.ppid} living\n`;

test('the lock is there while the work is done, and gone after it, a failure too', () => {
  withLock(root, () => expect(beside()).toEqual([basename(path)]));
  expect(() =>
    withLock(root, () => {
      throw new Error('work');
    }),
  ).toThrow('work');
  expect([beside(), said]).toEqual([[], []]);
});

test('a living process is waited for, a dead one and one that had this number are not', () => {
  const work = vi.fn();
  for (const gone of [dead, `${2 ** 23}\n`, `${process.pid} before\n`]) {
    writeFileSync(path, gone);
    withLock(root, work);
  }
  expect([work.mock.calls.length, said]).toEqual([3, []]);
  writeFileSync(path, living);
  withLock(root, work);
  expect([work.mock.calls.length, said]).toEqual([4, [expect.stringContaining(`(process ${process.ppid}) …`)]]);
  expect(beside()).toEqual([]);
});

test('of two that find a dead lock the second does not remove the lock of the first', () => {
  writeFileSync(path, dead);
  // The other one was quicker, and has its lock there before this one removes what it has seen.
  meanwhile.link = to => {
    if (!to.endsWith('.takeover')) return;
    writeFileSync(path, living);
    meanwhile.link = () => {};
  };
  withLock(root, () => {});
  expect(said).toEqual([expect.stringContaining(living)]);
});

test('a process that was killed while it took a lock over is in the way of nobody', () => {
  writeFileSync(path, dead);
  writeFileSync(`${path}.takeover`, dead);
  withLock(root, () => {});
  expect(beside()).toEqual([]);
});

test('without links: a lock that says nothing yet is one, until it is old', () => {
  meanwhile.link = () => {
    throw Object.assign(new Error('EPERM'), { code: 'EPERM' });
  };
  writeFileSync(path, '');
  withLock(root, () => {});
  expect(said).toEqual([expect.stringContaining('(starting) …')]);
  writeFileSync(path, '');
  const then = new Date(Date.now() - 10_000);
  utimesSync(path, then, then);
  withLock(root, () => {});
  expect([said.length, beside()]).toEqual([1, []]);
});
