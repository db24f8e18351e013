import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { download } from '../../src/util/download.ts';
import type { UserError } from '../../src/util/errors.ts';
import { sha256File } from '../../src/util/hash.ts';

const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251));
const sha256 = createHash('sha256').update(content).digest('hex');
const folder = mkdtempSync(join(tmpdir(), 's2h-download-'));
const path = join(folder, 'below', 'file.bin');
const part = `${path}.part`;

const isWhole = () => readFileSync(path).equals(content);

/** What the next answers do: 'whole' ignores ranges; a number breaks the connection after so many bytes. */
let behaviour: ('range' | 'whole' | 'wrong' | 'stall' | number)[] = [];
let asked: (string | undefined)[] = [];
let server: Server;
let url = '';
beforeAll(async () => {
  server = createServer((request, response) => {
    const { range } = request.headers;
    asked.push(range);
    const act = behaviour.shift() ?? 'range';
    if (request.url !== '/file') return void response.writeHead(404).end();
    const start = act === 'whole' || !range ? 0 : Number(/\d+/.exec(range)![0]);
    if (start >= content.length) return void response.writeHead(416).end();
    const body = act === 'wrong' ? Buffer.alloc(content.length, 1).subarray(start) : content.subarray(start);
    const headers = {
      'content-length': body.length,
      'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
    };
    response.writeHead(start > 0 ? 206 : 200, headers);
    if (act === 'stall') response.write(body.subarray(0, 10));
    else if (typeof act === 'number')
      response.write(body.subarray(0, act), () => response.socket?.end()); // in order: nothing of it is lost
    else response.end(body);
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  behaviour = [];
  asked = [];
});
afterEach(() => {
  for (const file of [path, part]) rmSync(file, { force: true });
});
const failure = (promise: Promise<unknown>): Promise<UserError> =>
  promise.then(
    () => expect.unreachable('no error'),
    error => error,
  );

test('a file arrives whole, with progress that ends at its length', async () => {
  const progress: [number, number | null][] = [];
  await download(url, path, { sha256, onProgress: (done, total) => progress.push([done, total]) });
  expect(isWhole()).toBe(true);
  expect(await sha256File(path)).toBe(sha256);
  expect(progress.at(-1)).toEqual([content.length, content.length]);
  expect(existsSync(part)).toBe(false);
});

test('a broken connection is taken up where it broke', async () => {
  behaviour = [100_000];
  await download(url, path, { sha256 });
  expect(isWhole()).toBe(true);
  expect(asked[0]).toBe(undefined);
  expect(asked[1]).toMatch(/^bytes=\d+-$/);
});

test('what an earlier process left is not fetched again', async () => {
  behaviour = [100_000];
  const failed = await failure(download(url, path, { sha256, retries: 0 }));
  expect(failed.code).toBe('E_DOWNLOAD');
  const kept = readFileSync(part).length;
  expect(kept).toBeGreaterThan(0);
  expect(failed.message).toContain(`${kept} bytes are kept`);
  await download(url, path, { sha256 });
  expect(asked[1]).toBe(`bytes=${kept}-`);
  expect(isWhole()).toBe(true);
});

test('a complete part is only checked', async () => {
  mkdirSync(dirname(part), { recursive: true });
  writeFileSync(part, content);
  await download(url, path, { sha256 });
  expect(isWhole()).toBe(true);
});

test('a server without ranges sends all of it again', async () => {
  behaviour = [1000];
  await failure(download(url, path, { sha256, retries: 0 }));
  behaviour = ['whole'];
  await download(url, path, { sha256 });
  expect(isWhole()).toBe(true);
});

test('a part of something else is found out and fetched anew', async () => {
  mkdirSync(dirname(part), { recursive: true });
  writeFileSync(part, Buffer.alloc(5000, 9));
  await download(url, path, { sha256 });
  expect(isWhole()).toBe(true);
  expect(asked).toEqual(['bytes=5000-', undefined]);
});

test('wrong content is an error with both checksums, and nothing stays', async () => {
  behaviour = ['wrong'];
  const error = await failure(download(url, path, { sha256 }));
  const found = createHash('sha256').update(Buffer.alloc(content.length, 1)).digest('hex');
  expect(error.code).toBe('E_CHECKSUM');
  expect(error.message).toContain(found);
  expect(error.message).toContain(sha256);
  expect([existsSync(path), existsSync(part)]).toEqual([false, false]);
});

test('an address that is not there, or nobody who answers, is named and not tried for ever', async () => {
  const missing = await failure(download(url.replace('/file', '/none'), path, { sha256 }));
  expect([missing.code, missing.message]).toEqual(['E_DOWNLOAD', expect.stringContaining('status 404')]);
  expect(asked).toHaveLength(1);
  const nobody = await failure(download('http://127.0.0.1:1/file', path, { sha256, retries: 0 }));
  expect([nobody.code, nobody.message]).toEqual(['E_DOWNLOAD', expect.stringContaining('127.0.0.1:1')]);
});

test('a connection that goes silent is given up, an abort ends it at once', async () => {
  behaviour = ['stall'];
  await download(url, path, { sha256, stallMs: 100 });
  expect(isWhole()).toBe(true);
  behaviour = ['stall'];
  const stop = new AbortController();
  const aborted = download(url, path, { sha256, signal: stop.signal, onProgress: () => stop.abort() });
  await expect(aborted).rejects.toThrow('abort');
});

test('two that fetch the same file at once do not get into each other: it is fetched once', async () => {
  const told: number[] = [];
  const fetching = [1, 2, 3].map(i => download(url, path, { sha256, waiting: () => told.push(i) }));
  await Promise.all(fetching);
  expect(readFileSync(path).equals(content)).toBe(true);
  expect([asked, told]).toEqual([[undefined], [2, 3]]);
  expect(readdirSync(dirname(path))).toEqual(['file.bin']);
});

test('where the first one fails, the second goes on from what it has left', async () => {
  behaviour = [100_000];
  const first = failure(download(url, path, { sha256, retries: 0 }));
  const second = download(url, path, { sha256 });
  expect((await first).code).toBe('E_DOWNLOAD');
  await second;
  expect(readFileSync(path).equals(content)).toBe(true);
  expect(asked).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
});

test('an abort ends the waiting too', async () => {
  behaviour = ['stall'];
  const stop = new AbortController();
  const first = download(url, path, { sha256, signal: stop.signal });
  const second = download(url, path, { sha256, signal: stop.signal, waiting: () => stop.abort() });
  await expect(first).rejects.toThrow('abort');
  await expect(second).rejects.toThrow('abort');
  expect(existsSync(`${path}.lock`)).toBe(false);
});

test('what is checked is the file that is put in place, not what came through the connection', async () => {
  let overwritten = false;
  const onProgress = () => {
    const file = openSync(part, 'r+');
    if (!overwritten) writeSync(file, Buffer.of(99, 98, 97), 0, 3, 0);
    closeSync(file);
    overwritten = true;
  };
  const error = await failure(download(url, path, { sha256, onProgress }));
  expect(error.code).toBe('E_CHECKSUM');
  expect([existsSync(path), existsSync(part)]).toEqual([false, false]);
});

test('a place that cannot be written is named', async () => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(join(folder, 'no-folder'), '');
  const error = await failure(download(url, join(folder, 'no-folder', 'file'), { sha256 }));
  expect([error.code, asked]).toEqual(['E_WRITE', []]);
});
