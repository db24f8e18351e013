import { closeSync, constants, fstatSync, openSync, readSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { messageOf, UserError } from '../util/errors.ts';

/**
 * The folder that a model's external data lies in, and how each file looked when the model was read: a file that was
 * replaced since then (by writing over the input, say) is noticed and never read as if it were the old one.
 */
export interface ExternalFiles {
  readonly folder: string;
  readonly stamps: Map<string, string>;
}

/** External files beside the model at `path`. */
export const externalFiles = (path: string): ExternalFiles => ({ folder: dirname(path), stamps: new Map() });

/** `external_data` of a tensor: `location`, `offset`, `length`, `checksum` and whatever else the file says. */
export type ExternalEntries = ReadonlyMap<string, string>;

const stampOf = (stats: Stats) => `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}`;

/** Remember how the file that the entries name looks now. A missing one is an error only when it is read. */
export function stamp(files: ExternalFiles, entries: ExternalEntries): void {
  const location = entries.get('location') ?? '';
  if (files.stamps.has(location)) return;
  let seen = '';
  try {
    seen = stampOf(statSync(resolve(files, location, '')));
  } catch {
    // Reading the tensor says what is wrong; looking at the graph needs no data.
  }
  files.stamps.set(location, seen);
}

const refuse = (tensor: string, what: string, fix: string, cause?: unknown) =>
  new UserError('E_EXTERNAL_DATA', `The external data of tensor '${tensor}' ${what}.`, { where: tensor, fix, cause });

/**
 * The real path of an external data file. The location is a stranger's text: only files inside the model's folder are
 * opened, symbolic links included.
 */
function resolve(files: ExternalFiles, location: string, tensor: string): string {
  const parts = location.split(/[/\\]/);
  if (!location || location.includes('\0') || /^([/\\]|[A-Za-z]:)/.test(location) || parts.includes('..')) {
    throw refuse(
      tensor,
      `has the location '${location}', which is not a path below the model's folder`,
      'Only relative paths without .. are read.',
    );
  }
  const path = join(files.folder, location);
  let real: string;
  let folder: string;
  try {
    real = realpathSync(path);
    folder = realpathSync(files.folder);
  } catch (error) {
    throw refuse(
      tensor,
      `lies in ${path}, which cannot be opened: ${messageOf(error)}`,
      'Put the data file beside the model.',
      error,
    );
  }
  if (!real.startsWith(folder.endsWith(sep) ? folder : folder + sep)) {
    throw refuse(
      tensor,
      `lies in ${path}, a link to ${real} outside the model's folder`,
      'Copy the data file beside the model.',
    );
  }
  return real;
}

/** A range of a file by its real path. */
export interface ExternalRange {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

function whole(entries: ExternalEntries, key: string, tensor: string): number | null {
  const value = entries.get(key);
  if (value === undefined) return null;
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number)) {
    throw refuse(tensor, `has the ${key} '${value}', which is not a number of bytes`, 'Export the model again.');
  }
  return number;
}

/**
 * Open the data file of a tensor, checked: inside the folder, a regular file, unchanged, long enough.
 * @param expected bytes that the tensor's type and shape ask for; null when they are not known
 */
function open(files: ExternalFiles, entries: ExternalEntries, expected: number | null, tensor: string) {
  const location = entries.get('location') ?? '';
  const path = resolve(files, location, tensor);
  const offset = whole(entries, 'offset', tensor) ?? 0;
  const stated = whole(entries, 'length', tensor);
  let file: number;
  try {
    // A pipe or a device would block or never end.
    if (!statSync(path).isFile()) throw new Error('it is not a regular file');
    file = openSync(path, constants.O_RDONLY);
  } catch (error) {
    throw refuse(
      tensor,
      `lies in ${path}, which cannot be read: ${messageOf(error)}`,
      'Put the data file beside the model.',
      error,
    );
  }
  try {
    const stats = fstatSync(file);
    const seen = files.stamps.get(location);
    if (seen && seen !== stampOf(stats)) {
      throw refuse(tensor, `lies in ${path}, which has changed since the model was read`, 'Read the model again.');
    }
    const length = stated ?? expected ?? Math.max(0, stats.size - offset);
    if (expected !== null && length !== expected) {
      throw refuse(
        tensor,
        `is ${length} bytes long; its type and shape ask for ${expected}`,
        'Export the model again.',
      );
    }
    if (offset + length > stats.size) {
      const range = `${offset} to ${offset + length}`;
      throw refuse(
        tensor,
        `should be bytes ${range} of ${path}, which has ${stats.size}`,
        'Fetch the data file again.',
      );
    }
    return { file, path, offset, length };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/**
 * The bytes of an external tensor, read anew at each call.
 * @throws UserError E_EXTERNAL_DATA: outside the model's folder, missing, replaced since the model was read, too short
 */
export function readExternal(
  files: ExternalFiles,
  entries: ExternalEntries,
  expected: number | null,
  tensor: string,
): Uint8Array {
  const { file, path, offset, length } = open(files, entries, expected, tensor);
  try {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const count = readSync(file, bytes, at, Math.min(length - at, 2 ** 30), offset + at);
      if (count === 0) throw refuse(tensor, `ends early in ${path}`, 'Fetch the data file again.');
      at += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** Where the bytes of an external tensor lie, with the same checks as `readExternal`. */
export function externalRange(
  files: ExternalFiles,
  entries: ExternalEntries,
  expected: number | null,
  tensor: string,
): ExternalRange {
  const { file, path, offset, length } = open(files, entries, expected, tensor);
  closeSync(file);
  return { path, offset, length };
}
