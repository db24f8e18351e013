import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { messageOf, UserError } from '../util/errors.ts';

/** The file in a run's folder that says who is using it. */
export const lockFile = 'run.lock';

/** Process numbers come again; together with the moment of its start a process is itself. */
interface Owner {
  readonly host: string;
  readonly pid: number;
  readonly started: string | null;
}

/** Locks that this process holds: a second run in it is another run. */
const held = new Set<string>();

/**
 * Take a run's folder for this run. The lock of a process that has died is taken over.
 * @returns lets others use the folder
 * @throws UserError E_RUN_BUSY (usage) naming the process that has it, E_OUT when the folder cannot be written
 */
export function takeRunLock(folder: string): () => void {
  const path = join(folder, lockFile);
  const text = JSON.stringify({ host: hostname(), pid: process.pid, started: startOf(process.pid) } satisfies Owner);
  try {
    for (let tries = 0; !create(path, text); tries++) {
      const found = read(path);
      if (found === undefined) continue; // released just now
      const owner = parse(found);
      if (tries === 100 || (owner && (held.has(path) || isRunning(owner)))) throw busy(folder, path, owner);
      removeStale(path, found);
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError('E_OUT', `${folder} cannot be written: ${messageOf(error)}.`, {
      where: folder,
      usage: true,
      cause: error,
    });
  }
  held.add(path);
  return () => {
    if (!held.delete(path)) return;
    rmSync(path, { force: true });
  };
}

function busy(folder: string, path: string, owner: Owner | undefined): UserError {
  const who = owner ? `Process ${owner.pid}${owner.host === hostname() ? '' : ` on ${owner.host}`}` : 'Another process';
  const elsewhere = owner && owner.host !== hostname() ? ` If it has ended, remove ${path}.` : '';
  return new UserError('E_RUN_BUSY', `${who} is using ${folder}.`, {
    where: folder,
    fix: `Wait for it to end, or choose another --out.${elsewhere}`,
    usage: true,
  });
}

/** The file appears with its content: nobody reads an empty lock. @returns false when there is one */
function create(path: string, text: string): boolean {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    writeFileSync(temporary, text);
    linkSync(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    // Some file systems have no links.
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

/** Remove a dead process's lock, but not one that another process has put in its place meanwhile. */
function removeStale(path: string, stale: string): void {
  const aside = `${path}.tmp-${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return; // another was quicker
  }
  if (read(aside) === stale) rmSync(aside, { force: true });
  else renameSync(aside, path);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function parse(text: string): Owner | undefined {
  try {
    const { host, pid, started } = JSON.parse(text) as Owner;
    return typeof host === 'string' && Number.isInteger(pid) ? { host, pid, started } : undefined;
  } catch {
    return undefined;
  }
}

/** Of a process on another machine nothing is known: it counts as running. */
function isRunning({ host, pid, started }: Owner): boolean {
  if (host !== hostname()) return true;
  if (pid === process.pid) return false; // not held, so it is left from a process that had this number
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === null || started === (startOf(pid) ?? started);
}

/** When a process began, in ticks since the machine started; null where the system does not say. */
function startOf(pid: number): string | null {
  const stat = read(`/proc/${pid}/stat`);
  // The second field is the program's name in parentheses, which may hold anything; the start is the 22nd.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}
