import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, UserError } from './errors.ts';
import { makeFolders } from './folders.ts';
import { sha256File } from './hash.ts';
import { waitForLock } from './lock.ts';

export interface DownloadOptions {
  /** Of the whole file, in hexadecimal. */
  readonly sha256: string;
  readonly signal?: AbortSignal;
  /** `total` is null while the server has not told it. Bytes that an earlier attempt left count as done. */
  readonly onProgress?: (done: number, total: number | null) => void;
  /** How often a broken connection is taken up again. */
  readonly retries?: number;
  /** Milliseconds without a byte after which the connection counts as broken. */
  readonly stallMs?: number;
  /** Called once when another process is fetching to the same place, which is waited for. */
  readonly waiting?: () => void;
}

/**
 * Fetch a file over http(s), check it, and put it in place in one step. What has arrived is kept in `<path>.part`, so
 * the next attempt, also of a later process, asks only for the rest. One process at a time does so (`<path>.lock`);
 * what another one has put in place meanwhile is not fetched again.
 * @throws UserError E_DOWNLOAD when the address cannot be reached or answers with an error (the part is kept),
 *   E_CHECKSUM when the content is not the expected one (the part is removed), E_WRITE when it cannot be stored
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  makeFolder(dirname(path));
  const { release, waited } = await lock(`${path}.lock`, options);
  try {
    if (waited && existsSync(path) && (await sha256File(path)) === options.sha256) return;
    const part = `${path}.part`;
    await fetchPart(url, part, path, options);
    renameSync(part, path);
  } finally {
    release();
  }
}

async function lock(
  path: string,
  { signal, waiting }: DownloadOptions,
): Promise<{ release: () => void; waited: boolean }> {
  let waited = false;
  const told = () => {
    waited = true;
    waiting?.();
  };
  try {
    return { release: await waitForLock(path, { signal, waiting: told }), waited };
  } catch (error) {
    signal?.throwIfAborted();
    throw unwritable(path, error);
  }
}

/** Fetch and check a part; it is the whole file afterwards. */
async function fetchPart(url: string, part: string, path: string, options: DownloadOptions): Promise<void> {
  let retries = options.retries ?? 3;
  for (;;) {
    const resumed = sizeOf(part) > 0;
    try {
      await transfer(url, part, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof UserError || retries-- === 0) throw unreachable(url, part, error);
      await sleep(500, undefined, { signal: options.signal });
      continue;
    }
    // Of what lies on the disk, whatever came through the connection.
    const found = await sha256File(part);
    if (found === options.sha256) return;
    rmSync(part, { force: true });
    // The beginning may have come from another version of the file, or from a process that was killed while writing.
    if (resumed && retries-- > 0) continue;
    throw new UserError('E_CHECKSUM', `${url} has SHA-256 ${found}, expected ${options.sha256}.`, {
      where: path,
      fix: 'Nothing was kept. Try again; if it happens again, the file at that address is damaged or was replaced.',
    });
  }
}

/** Fetch what is missing in `part`. */
async function transfer(url: string, part: string, options: DownloadOptions): Promise<void> {
  const have = sizeOf(part);
  const stall = new AbortController();
  const watch = setTimeout(() => stall.abort(new Error('no data arrives')), options.stallMs ?? 60_000);
  const signal = options.signal ? AbortSignal.any([options.signal, stall.signal]) : stall.signal;
  let file: FileHandle | undefined;
  try {
    const response = await fetch(url, { signal, headers: have > 0 ? { range: `bytes=${have}-` } : {} });
    // 416: nothing lies beyond what we have, so it is either complete or wrong, and the hash tells which.
    if (response.status === 416 && have > 0) return;
    if (!response.ok || !response.body) throw refused(url, response.status);
    const continues = response.status === 206 && rangeStart(response) === have;
    if (response.status === 206 && !continues) throw new Error('the server sent another range than was asked for');
    let done = continues ? have : 0;
    const length = response.headers.get('content-length');
    const total = length === null || response.headers.has('content-encoding') ? null : done + Number(length);
    file = await openFile(part, continues ? 'a' : 'w');
    for await (const chunk of response.body) {
      watch.refresh();
      await write(file, chunk, part);
      done += chunk.byteLength;
      options.onProgress?.(done, total);
    }
    if (total !== null && done < total) throw new Error(`the connection ended after ${done} of ${total} bytes`);
  } finally {
    clearTimeout(watch);
    await file?.close();
  }
}

const sizeOf = (path: string) => (existsSync(path) ? statSync(path).size : 0);

const rangeStart = (response: Response) =>
  Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]);

function makeFolder(folder: string): void {
  try {
    makeFolders(folder);
  } catch (error) {
    throw unwritable(folder, error);
  }
}

async function openFile(path: string, flags: string): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (error) {
    throw unwritable(path, error);
  }
}

async function write(file: FileHandle, chunk: Uint8Array, path: string): Promise<void> {
  try {
    for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten;
  } catch (error) {
    throw unwritable(path, error);
  }
}

const unwritable = (path: string, cause: unknown) =>
  new UserError('E_WRITE', `Could not write to ${path}: ${messageOf(cause)}.`, {
    where: path,
    fix: 'Free space or choose another folder, then run again.',
    cause,
  });

const refused = (url: string, status: number) =>
  new UserError('E_DOWNLOAD', `${url} answered with status ${status}.`, { where: url });

function unreachable(url: string, part: string, error: unknown): UserError {
  if (error instanceof UserError) return error;
  // fetch says only "fetch failed"; its cause holds the reason (ENOTFOUND, ECONNREFUSED, a certificate).
  const cause = error instanceof Error && error.cause ? error.cause : error;
  const kept = sizeOf(part);
  return new UserError('E_DOWNLOAD', `Could not fetch ${url}: ${messageOf(cause) || String(cause)}.`, {
    where: url,
    fix: kept > 0 ? `${kept} bytes are kept; the next attempt goes on from there.` : 'Is this machine online?',
    cause: error,
  });
}
