import {
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writevSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { messageOf, UserError } from './errors.ts';

/**
 * Where a file ends up that is written to a path: links are followed.
 * @throws UserError E_WRITE for what is there and is no ordinary file: a folder, a pipe, a device
 */
export function destination(path: string): string {
  const found = lookedUp(() => lstatSync(path));
  if (!found) return path;
  const target = found.isSymbolicLink() ? (lookedUp(() => realpathSync(path)) ?? path) : path;
  const file = target === path ? found : lookedUp(() => statSync(target));
  if (!file || file.isFile() || file.isSymbolicLink()) return target;
  const what = file.isDirectory() ? 'a folder' : 'no ordinary file (a pipe or a device)';
  throw new UserError('E_WRITE', `${path} is ${what}; nothing is written there.`, {
    where: path,
    fix: 'Choose the name of a file.',
  });
}

/** Nothing where a path leads nowhere, or through what may not be seen. */
function lookedUp<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}

/**
 * Write a file so that a reader, or a crash at any moment, sees either the old or the new content: a temporary name in
 * the same folder, fsync, rename, fsync of the folder. Links are followed.
 * @param chunks written one after the other as they come, without being joined in memory
 * @throws UserError E_WRITE with path and bytes when the disk is full or the folder cannot be written; and that of
 *   {@link destination}
 */
export function writeAtomic(named: string, chunks: string | Uint8Array | Iterable<Uint8Array>): void {
  const path = destination(named);
  const parts = typeof chunks === 'string' ? [Buffer.from(chunks)] : chunks instanceof Uint8Array ? [chunks] : chunks;
  const temporary = `${path}.tmp-${process.pid}`;
  let bytes = 0;
  try {
    const file = openSync(temporary, 'w');
    try {
      for (const part of parts) {
        bytes += part.byteLength;
        writeWhole(file, part);
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    // What goes wrong with a chunk before it is there has been said by whoever makes it.
    if (error instanceof UserError) throw error;
    if (Array.isArray(parts)) bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
    throw new UserError('E_WRITE', `Could not write ${bytes} bytes to ${path}: ${messageOf(error)}.`, {
      where: path,
      fix: 'What stood there before is intact. Free space or choose another folder, then run again.',
      cause: error,
    });
  }
}

/** A single write call moves at most 2 GiB, and may move less than it was asked to. */
function writeWhole(file: number, part: Uint8Array): void {
  for (let at = 0; at < part.byteLength; ) at += writevSync(file, [part.subarray(at, at + 2 ** 30)]);
}

function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
