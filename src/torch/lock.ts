import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';

/**
 * Runs `work` while no other process that asks for the same lock does. The lock of a process that has died is taken over.
 * @param path file that stands for the lock; its folder is created
 * @param waiting called once when another process has it
 * @throws UserError E_WRITE when the folder cannot be written
 */
export async function withLock<T>(path: string, waiting: () => void, work: () => Promise<T>): Promise<T> {
  const owner = JSON.stringify({ host: hostname(), pid: process.pid });
  for (let tries = 0; !take(path, owner); tries++) {
    if (tries === 0) waiting();
    if (isAbandoned(path)) rmSync(path, { force: true });
    else await sleep(200);
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string, owner: string): boolean {
  try {
    makeFolders(dirname(path));
    writeFileSync(path, owner, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new UserError('E_WRITE', `Could not write to the cache: ${messageOf(error)}.`, {
      where: dirname(path),
      fix: 'Set XDG_CACHE_HOME to a folder that can be written.',
      cause: error,
    });
  }
}

/** Whether the owner has ended: on this machine by its process number, elsewhere by an hour's age. */
function isAbandoned(path: string): boolean {
  try {
    const ageMs = Date.now() - statSync(path).mtimeMs;
    const text = readFileSync(path, 'utf8');
    if (text === '') return ageMs > 10_000; // between creation and writing, or killed there
    const { host, pid } = JSON.parse(text) as { host: string; pid: number };
    return host === hostname() ? !isAlive(pid) : ageMs > 3_600_000;
  } catch {
    return false; // released just now
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
