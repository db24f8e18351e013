import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeAtomic } from '../util/atomic.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { bytes as formatBytes } from '../util/format.ts';

/** A run's folder: what it was asked for, its events, checkpoints and results. */
export interface RunDirectory {
  readonly path: string;
  file(name: string): string;
  /** Let others use the folder. */
  release(): void;
}

/**
 * Make a run's folder.
 * @param out the folder asked for; by default `runs/<name>-<n>` with the next free number
 * @throws UserError E_RUN_EXISTS when the folder holds a run, E_OUT when it cannot be made, E_DISK_SPACE
 */
export function createRunDirectory(out: string | undefined, name: string, needBytes: number): RunDirectory {
  const path = resolve(out ?? nextFree(name));
  if (existsSync(join(path, 'config.json'))) {
    throw new UserError('E_RUN_EXISTS', `${path} already holds a run.`, {
      where: '--out',
      fix: `Choose another folder, or go on with that run: --resume ${path}.`,
      usage: true,
    });
  }
  if (existsSync(path) && readdirSync(path).length > 0) {
    throw new UserError('E_RUN_EXISTS', `${path} is not empty.`, { where: '--out', fix: 'Choose a new folder.', usage: true });
  }
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new UserError('E_OUT', `The folder ${path} could not be made: ${messageOf(error)}.`, { where: '--out', usage: true, cause: error });
  }
  checkSpace(path, needBytes);
  return locked(path);
}

/** @throws UserError E_NO_RUN when there is no run in the folder, E_RUN_BUSY when another process uses it */
export function openRunDirectory(directory: string): RunDirectory {
  const path = resolve(directory);
  if (!existsSync(join(path, 'config.json'))) {
    throw new UserError('E_NO_RUN', `${path} holds no run (there is no config.json).`, { where: '--resume', usage: true });
  }
  return locked(path);
}

/** `runs/<name>-<n>`: one process makes each. */
function nextFree(name: string): string {
  mkdirSync('runs', { recursive: true });
  for (let n = 1; ; n++) {
    const path = join('runs', `${name}-${n}`);
    try {
      mkdirSync(path);
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new UserError('E_OUT', `The folder ${path} could not be made: ${messageOf(error)}.`, { where: '--out', cause: error });
      }
    }
  }
}

/** @throws UserError E_DISK_SPACE with both numbers */
export function checkSpace(path: string, needBytes: number): void {
  const { bavail, bsize } = statfsSync(existsSync(path) ? path : dirname(path));
  const free = bavail * bsize;
  if (free >= needBytes) return;
  throw new UserError('E_DISK_SPACE', `The run needs about ${formatBytes(needBytes)} in ${path}, ${formatBytes(free)} are free.`, {
    where: path,
    fix: 'Free space or choose another --out.',
  });
}

function locked(path: string): RunDirectory {
  const lock = join(path, 'run.lock');
  const take = (): void => {
    const file = openSync(lock, 'wx');
    writeSync(file, String(process.pid));
    closeSync(file);
  };
  try {
    take();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new UserError('E_OUT', `${path} cannot be written: ${messageOf(error)}.`, { where: path, cause: error });
    }
    const owner = Number(readFileSync(lock, 'utf8'));
    if (owner !== process.pid && isAlive(owner)) {
      throw new UserError('E_RUN_BUSY', `Process ${owner} is using ${path}.`, { where: path, fix: 'Wait for it to end, or choose another --out.', usage: true });
    }
    rmSync(lock, { force: true });
    take();
  }
  return { path, file: name => join(path, name), release: () => rmSync(lock, { force: true }) };
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Write a JSON file of a run. */
export const writeJson = (path: string, value: unknown): void => writeAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
