import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeAtomic } from '../util/atomic.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import { bytes as formatBytes } from '../util/format.ts';
import { isLockFile } from '../util/lock.ts';
import { lockFile, takeRunLock } from './run-lock.ts';

/** A run's folder: what it was asked for, its events, checkpoints and results. */
export interface RunDirectory {
  readonly path: string;
  file(name: string): string;
  /** Let others use the folder. */
  release(): void;
  /**
   * Let go of a run that failed before its first checkpoint: what it wrote is removed, and the folders that were made
   * for it when nothing else lies in them. Does nothing for a folder that held a run before.
   */
  discard(): void;
}

/** What a run writes before its first checkpoint. */
const beginnings = [
  'start.onnx',
  'start.onnx.data',
  'cut.onnx',
  'cut.onnx.data',
  'config.json',
  'precision.json',
  'events.jsonl',
];
/** What it writes later, beside its checkpoints; and what a frontier writes. */
const others = [
  'checkpoint.json',
  'trained.onnx',
  'trained.onnx.data',
  'pruned.onnx',
  'pruned.onnx.data',
  'plan.json',
  'report.md',
  'result.json',
  'frontier.json',
  'frontier.md',
  'frontier.svg',
];
const checkpointData = /^checkpoint-\d+\.safetensors$/;

/** Something in a folder. Only files are a run's own, whatever the name of a folder or a link is. */
interface Entry {
  readonly name: string;
  readonly isFile: boolean;
}
const isBeginning = ({ name, isFile }: Entry) => isFile && beginnings.includes(name);
const isCheckpoint = ({ name, isFile }: Entry) => isFile && checkpointData.test(name);
/** What a process that was killed while it wrote one of these files has left. */
const isTemporary = ({ name, isFile }: Entry) => {
  const written = name.replace(/(\.new-\d+)?(\.tmp-\d+)?$/, '');
  const isOurs = beginnings.includes(written) || others.includes(written) || checkpointData.test(written);
  return isFile && written !== name && isOurs;
};
/** Another process may just be making it. */
const isLock = ({ name, isFile }: Entry) => isFile && isLockFile(name, lockFile);

/**
 * Make a run's folder. One that holds nothing but the beginning of a run that was killed before its first step is taken
 * over.
 * @param out the folder asked for; by default `runs/<name>-<n>` with the next free number
 * @throws UserError E_RUN_EXISTS when the folder holds something, E_OUT when it cannot be made or written, E_RUN_BUSY
 *   when another run is beginning in it, E_DISK_SPACE
 */
export function createRunDirectory(out: string | undefined, name: string, needBytes: number): RunDirectory {
  const made: string[] = [];
  const path = resolve(out ?? nextFree(name, made));
  const takesOver = refuseContent(path);
  makeFolder(path, made);
  const removeFolders = () => {
    for (const folder of made) if (!removeEmpty(folder)) break;
  };
  let release: () => void;
  try {
    release = takeRunLock(path);
  } catch (error) {
    removeFolders();
    throw error;
  }
  const discard = () => {
    // A checkpoint may have failed between its data and the list that names it.
    remove(path, entry => isBeginning(entry) || isTemporary(entry) || isCheckpoint(entry));
    release();
    removeFolders();
  };
  try {
    // Somebody may have been quicker than the lock.
    if (refuseContent(path) && !takesOver) throw notEmpty(path);
    remove(path, entry => isBeginning(entry) || isTemporary(entry));
    checkSpace(path, needBytes);
  } catch (error) {
    release();
    removeFolders();
    throw error;
  }
  return { path, file: file => join(path, file), release, discard };
}

/**
 * Make an empty folder for several runs.
 * @param out the folder asked for; by default `runs/<name>-<n>` with the next free number
 * @throws UserError E_RUN_EXISTS when it holds something, E_OUT when it cannot be made
 */
export function makeRunFolder(out: string | undefined, name: string): string {
  const made: string[] = [];
  const path = resolve(out ?? nextFree(name, made));
  if (refuseContent(path)) throw notEmpty(path);
  makeFolder(path, made);
  return path;
}

/** What a killed process left half written in a folder goes. */
export const removeTemporary = (path: string): void => remove(path, isTemporary);

/**
 * Open a run's folder to go on with it; what a killed process left half written is removed.
 * @throws UserError E_NO_RUN when there is no run in the folder, E_RUN_BUSY when another process uses it
 */
export function openRunDirectory(directory: string): RunDirectory {
  const path = resolve(directory);
  if (!existsSync(join(path, 'config.json'))) {
    throw new UserError('E_NO_RUN', `${path} holds no run (there is no config.json).`, {
      where: '--resume',
      usage: true,
    });
  }
  const release = takeRunLock(path);
  removeTemporary(path);
  return { path, file: name => join(path, name), release, discard: release };
}

/**
 * @returns whether the folder holds the beginning of a run: one that was killed, or is just being made
 * @throws UserError E_RUN_EXISTS when it holds anything else
 */
function refuseContent(path: string): boolean {
  const entries = existsSync(path) ? filesIn(path) : [];
  const has = (file: string) => entries.some(({ name }) => name === file);
  if (has('config.json') || has('frontier.json')) {
    const what = has('config.json') ? 'run' : 'frontier';
    throw new UserError('E_RUN_EXISTS', `${path} already holds a ${what}.`, {
      where: '--out',
      fix: `Choose another folder, or go on with that ${what}: --resume ${path}.`,
      usage: true,
    });
  }
  const content = entries.filter(entry => !isLock(entry) && !isTemporary(entry));
  if (content.length === 0) return false;
  if (has(lockFile) && content.every(isBeginning)) return true;
  throw notEmpty(path);
}

const notEmpty = (path: string): UserError =>
  new UserError('E_RUN_EXISTS', `${path} is not empty.`, { where: '--out', fix: 'Choose a new folder.', usage: true });

const entriesIn = (path: string): Entry[] =>
  readdirSync(path, { withFileTypes: true }).map(entry => ({ name: entry.name, isFile: entry.isFile() }));

function remove(path: string, which: (entry: Entry) => boolean): void {
  for (const { name } of entriesIn(path).filter(which)) rmSync(join(path, name), { force: true });
}

function filesIn(path: string): Entry[] {
  try {
    return entriesIn(path);
  } catch (error) {
    throw new UserError('E_OUT', `${path} cannot be used as a folder: ${messageOf(error)}.`, {
      where: '--out',
      usage: true,
      cause: error,
    });
  }
}

/** `runs/<name>-<n>`: one process makes each. */
function nextFree(name: string, made: string[]): string {
  makeFolder(resolve('runs'), made);
  for (let n = 1; ; n++) {
    const path = resolve('runs', `${name}-${n}`);
    try {
      mkdirSync(path);
      made.unshift(path);
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw cannotMake(path, error);
    }
  }
}

/** @param made receives the folders that did not exist, the innermost first */
function makeFolder(path: string, made: string[]): void {
  try {
    const first = makeFolders(path);
    if (first === undefined) return;
    const outermost = resolve(first);
    const folders = [path];
    while (folders[folders.length - 1].length > outermost.length) folders.push(dirname(folders[folders.length - 1]));
    made.unshift(...folders);
  } catch (error) {
    throw cannotMake(path, error);
  }
}

const cannotMake = (path: string, error: unknown): UserError =>
  new UserError('E_OUT', `The folder ${path} could not be made: ${messageOf(error)}.`, {
    where: '--out',
    usage: true,
    cause: error,
  });

/** @returns whether it is gone */
function removeEmpty(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}

/** @throws UserError E_DISK_SPACE with both numbers */
export function checkSpace(path: string, needBytes: number): void {
  const { bavail, bsize } = statfsSync(path);
  const free = bavail * bsize;
  if (free >= needBytes) return;
  throw new UserError(
    'E_DISK_SPACE',
    `The run needs about ${formatBytes(needBytes)} in ${path}, ${formatBytes(free)} are free.`,
    {
      where: path,
      fix: 'Free space or choose another --out.',
    },
  );
}

/** Write a JSON file of a run. */
export const writeJson = (path: string, value: unknown): void =>
  writeAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
