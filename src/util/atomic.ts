import { closeSync, fsyncSync, openSync, renameSync, rmSync, writevSync } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf, UserError } from './errors.ts';

/**
 * Write a file so that a reader, or a crash at any moment, sees either the old or the new content: a temporary name in
 * the same folder, fsync, rename, fsync of the folder.
 * @param chunks written one after the other as they come, without being joined in memory
 * @throws UserError E_WRITE with path and bytes when the disk is full or the folder cannot be written
 */
export function writeAtomic(path: string, chunks: string | Uint8Array | Iterable<Uint8Array>): void {
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
