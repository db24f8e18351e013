import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf, UserError } from '../util/errors.ts';
import { printable } from '../util/printable.ts';

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
    seen = stampOf(inspected(resolve(files, location, ''), ''));
  } catch {
    // Reading the tensor says what is wrong; looking at the graph needs no data.
  }
  files.stamps.set(location, seen);
}

const refuse = (tensor: string, what: string, fix: string, cause?: unknown) =>
  new UserError('E_EXTERNAL_DATA', `The external data of tensor '${printable(tensor)}' ${what}.`, { fix, cause });

/**
 * The path of an external data file. The location is a stranger's text: only regular files inside the model's folder are
 * opened, without following any link on the way there (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489).
 */
function resolve(files: ExternalFiles, location: string, tensor: string): string {
  const parts = location.split(/[/\\]/);
  if (!location || location.includes('\0') || /^([/\\]|[A-Za-z]:)/.test(location) || parts.includes('..')) {
    throw refuse(
      tensor,
      `has the location '${printable(location)}', which is not a path below the model's folder`,
      'Only relative paths without .. are read.',
    );
  }
  const folders = location.split('/').slice(0, -1);
  folders.forEach((_, i) => {
    const folder = join(files.folder, ...folders.slice(0, i + 1));
    if (stats(folder, tensor).isSymbolicLink()) throw linked(folder, tensor);
  });
  return join(files.folder, location);
}

function stats(path: string, tensor: string): Stats {
  try {
    return lstatSync(path);
  } catch (error) {
    const what = `lies in ${printable(path)}, which cannot be opened: ${messageOf(error)}`;
    throw refuse(tensor, what, 'Put the data file beside the model.', error);
  }
}

const linked = (path: string, tensor: string) =>
  refuse(tensor, `lies behind the link ${printable(path)}, and links are not followed`, 'Copy the file there.');

/**
 * What a data file is, before it is opened: a pipe or a device would block or never end, and a second name of a file
 * from elsewhere would hand that file's content on (CVE-2026-34446).
 */
function inspected(path: string, tensor: string): Stats {
  const found = stats(path, tensor);
  if (found.isSymbolicLink()) throw linked(path, tensor);
  if (!found.isFile())
    throw refuse(tensor, `lies in ${printable(path)}, which is not a regular file`, 'Put the data file there.');
  if (found.nlink > 1)
    throw refuse(
      tensor,
      `lies in ${printable(path)}, which has another name elsewhere (a hard link)`,
      'Copy the file: cp FILE FILE.copy && mv FILE.copy FILE.',
    );
  return found;
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
    throw refuse(
      tensor,
      `has the ${key} '${printable(value)}', which is not a number of bytes`,
      'Export the model again.',
    );
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
  const expectedFile = inspected(path, tensor);
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw refuse(
      tensor,
      `lies in ${printable(path)}, which cannot be read: ${messageOf(error)}`,
      'Put the data file beside the model.',
      error,
    );
  }
  try {
    const stats = fstatSync(file);
    const seen = files.stamps.get(location);
    if (stampOf(expectedFile) !== stampOf(stats) || (seen && seen !== stampOf(stats))) {
      throw refuse(
        tensor,
        `lies in ${printable(path)}, which has changed since the model was read`,
        'Read the model again.',
      );
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
        `should be bytes ${range} of ${printable(path)}, which has ${stats.size}`,
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
 * @param part of it; all by default
 * @throws UserError E_EXTERNAL_DATA: outside the model's folder, missing, replaced since the model was read, too short
 */
export function readExternal(
  files: ExternalFiles,
  entries: ExternalEntries,
  expected: number | null,
  tensor: string,
  part?: { readonly offset: number; readonly length: number },
): Uint8Array {
  const { file, path, offset, length } = open(files, entries, expected, tensor);
  try {
    const from = offset + (part?.offset ?? 0);
    const bytes = new Uint8Array(part?.length ?? length);
    for (let at = 0; at < bytes.byteLength; ) {
      const count = readSync(file, bytes, at, Math.min(bytes.byteLength - at, 2 ** 30), from + at);
      if (count === 0) throw refuse(tensor, `ends early in ${printable(path)}`, 'Fetch the data file again.');
      at += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** A range of a file and the tensor that lies there. */
export interface TensorRange extends ExternalRange {
  readonly tensor: string;
}

/**
 * Tensors may share a range, but not parts of one: a small file could hold any number of large ones then.
 * @throws UserError E_EXTERNAL_DATA
 */
export function checkOverlaps(ranges: readonly TensorRange[]): void {
  const inOrder = ranges
    .filter(({ length }) => length > 0)
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.offset - b.offset || a.length - b.length));
  inOrder.forEach((range, i) => {
    const before = inOrder[i - 1];
    if (before?.path !== range.path || range.offset >= before.offset + before.length) return;
    if (range.offset === before.offset && range.length === before.length) return;
    throw refuse(
      range.tensor,
      `overlaps in ${printable(range.path)} with that of '${printable(before.tensor)}'`,
      'Export the model again.',
    );
  });
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
