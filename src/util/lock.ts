import { randomInt, randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, UserError } from './errors.ts';
import { makeFolders } from './folders.ts';

/** Who holds a lock. Process numbers come again; together with the moment of its start a process is itself. */
export interface LockOwner {
  readonly host: string;
  readonly pid: number;
  readonly started: string | null;
  /** Of this lock: no two have the same. */
  readonly id: string;
}

/** A lock that was taken, with what lets others take it; or who has it, null where that is not known. */
export type LockAttempt =
  | { readonly release: () => void }
  | { readonly release: null; readonly owner: LockOwner | null };

/** Locks that this process holds, by their id. */
const held = new Set<string>();

/** Milliseconds after which a lock that says nothing is what a killed process left; see {@link create}. */
const unsaidMs = 10_000;

/**
 * Take a lock, which is a file, if nobody has it. The lock of a process of this machine that has died is taken over.
 * @param path of the file; its folder exists
 * @param elsewhereMs age from which the lock of another machine, of whose processes nothing is known, is taken over too
 * @throws what the file system says where the folder cannot be written
 */
export function tryLock(path: string, elsewhereMs = Number.POSITIVE_INFINITY): LockAttempt {
  const owner: LockOwner = { host: hostname(), pid: process.pid, started: startOf(process.pid), id: randomUUID() };
  const text = JSON.stringify(owner);
  for (let tries = 0; tries < 100; tries++) {
    const found = look(path);
    if (found && !isAbandoned(found, elsewhereMs)) return { release: null, owner: parse(found.text) };
    if (found) removeAbandoned(path, found.text, text);
    else if (create(path, text)) {
      held.add(owner.id);
      return {
        release() {
          if (held.delete(owner.id)) removeOwn(path, text);
        },
      };
    }
  }
  return { release: null, owner: null };
}

/**
 * Take a lock, and wait while another process has it; a lock of another machine counts for an hour.
 * @param waiting called once when there is something to wait for
 * @returns lets others take it
 * @throws what the file system says where the folder cannot be written; an AbortError
 */
export async function waitForLock(
  path: string,
  { waiting, signal }: { readonly waiting?: () => void; readonly signal?: AbortSignal } = {},
): Promise<() => void> {
  for (let tries = 0; ; tries++) {
    const { release } = tryLock(path, 3_600_000);
    if (release) return release;
    if (tries === 0) waiting?.();
    await sleep(200, undefined, { signal });
  }
}

/**
 * Do something in the cache while no other process that asks for the same lock does.
 * @param path of the lock; its folder is made
 * @param options as {@link waitForLock}
 * @throws UserError E_WRITE when the folder cannot be written; an AbortError
 */
export async function withCacheLock<T>(
  path: string,
  options: { readonly waiting?: () => void; readonly signal?: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  const release = await inCache(path, options);
  try {
    return await work();
  } finally {
    release();
  }
}

async function inCache(path: string, options: Parameters<typeof waitForLock>[1]): Promise<() => void> {
  try {
    makeFolders(dirname(path));
    return await waitForLock(path, options);
  } catch (error) {
    options?.signal?.throwIfAborted();
    throw new UserError('E_WRITE', `Could not write to the cache: ${messageOf(error)}.`, {
      where: dirname(path),
      fix: 'Set XDG_CACHE_HOME to a folder that can be written.',
      cause: error,
    });
  }
}

/** Whether a file's name is that of a lock or of one of the files that lie beside it while it is being taken. */
export function isLockFile(name: string, lock: string): boolean {
  return name.startsWith(lock) && /^(\.takeover)?(\.tmp-\d+)?$/.test(name.slice(lock.length));
}

const guardOf = (path: string): string => `${path}.takeover`;
const besides = (path: string): string => `${path}.tmp-${randomInt(2 ** 47)}`;

interface Found {
  readonly text: string;
  readonly ageMs: number;
}

/** undefined: it is not there. */
function look(path: string): Found | undefined {
  try {
    return { text: readFileSync(path, 'utf8'), ageMs: Date.now() - statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
}

/**
 * The file appears with its content. Some file systems have no links: there it appears empty, and is filled at once.
 * @returns false when there is one
 */
function create(path: string, text: string): boolean {
  const temporary = besides(path);
  try {
    writeFileSync(temporary, text);
    linkSync(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOSYS')
      return createPlain(path, text);
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

function createPlain(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Remove an abandoned lock, but never the one that another process has put in its place meanwhile: who removes locks
 * holds the file beside it, and looks again.
 */
function removeAbandoned(path: string, abandoned: string, text: string): void {
  const guard = guardOf(path);
  if (!create(guard, text)) {
    // It is held for a moment, so an abandoned one is rarer than rare.
    const found = look(guard);
    if (found && isAbandoned(found, 60_000)) moveAway(guard, found.text);
    return;
  }
  try {
    if (look(path)?.text === abandoned) rmSync(path, { force: true });
  } finally {
    removeOwn(guard, text);
  }
}

/** Remove a file that nothing guards; what turns out to be another one is put back, unless a third is there by then. */
function moveAway(path: string, abandoned: string): void {
  const aside = besides(path);
  try {
    renameSync(path, aside);
  } catch {
    return; // another was quicker
  }
  const moved = look(aside)?.text;
  if (moved !== undefined && moved !== abandoned) create(path, moved);
  rmSync(aside, { force: true });
}

/** Somebody may have thought it abandoned, and have another there. */
function removeOwn(path: string, text: string): void {
  if (look(path)?.text === text) rmSync(path, { force: true });
}

function parse(text: string): LockOwner | null {
  try {
    const { host, pid, started = null, id = '' } = JSON.parse(text) as LockOwner;
    return typeof host === 'string' && Number.isInteger(pid) ? { host, pid, started, id } : null;
  } catch {
    return null;
  }
}

function isAbandoned({ text, ageMs }: Found, elsewhereMs: number): boolean {
  const owner = parse(text);
  if (!owner) return ageMs > unsaidMs;
  return owner.host === hostname() ? !isRunning(owner) : ageMs > elsewhereMs;
}

function isRunning({ pid, started, id }: LockOwner): boolean {
  // Where it is not held here, another thread may hold it, or a process that had this number has left it.
  if (pid === process.pid) return held.has(id) || (started !== null && started === startOf(pid));
  return isAlive(pid) && (started === null || started === (startOf(pid) ?? started));
}

/** Whether a process of this machine has this number. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process began, in ticks since the machine started; null where the system does not say. */
function startOf(pid: number): string | null {
  const stat = look(`/proc/${pid}/stat`)?.text;
  // The second field is the program's name in parentheses, which may hold anything; the start is the 22nd.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}
