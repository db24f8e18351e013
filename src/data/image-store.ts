import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { writeAtomic } from '../util/atomic.ts';
import { cacheFolder } from '../util/cache.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import { isAlive } from '../util/lock.ts';
import { type DecodeOptions, decoder } from './decode.ts';
import { digest, type OpenOptions } from './source.ts';

/** An image file of a data set; `name` is its path below the root, with forward slashes. */
export interface ImageFile {
  readonly name: string;
  readonly path: string;
  readonly label: number;
  readonly part: string;
}

/** Decoded images behind a number. */
export interface ImageStore {
  /** Files that could be decoded, in their order; an image's index counts these. */
  readonly files: readonly ImageFile[];
  /** `name: reason` of every file that could not; grows while images are decoded on the fly. */
  readonly skipped: readonly string[];
  /** uint8 [3, H, W]. */
  image(index: number): Uint8Array | Promise<Uint8Array>;
}

/** Files that are decoded at the same time. */
const concurrency = 32;

interface Index {
  readonly format: 's2h-images/1';
  readonly fingerprint: string;
  readonly broken: readonly { readonly file: number; readonly reason: string }[];
}

/**
 * Images decoded once into one file in the cache (planes of uint8, one image after the other), keyed by what the
 * folder holds; a folder has one such file per size, the newest. What would be larger than the limit is decoded anew
 * whenever it is asked for.
 * @param fingerprint of names, sizes, times and decoding: another one means that something changed
 */
export async function openImages(
  root: string,
  files: readonly ImageFile[],
  decode: DecodeOptions,
  fingerprint: string,
  options: OpenOptions,
): Promise<ImageStore> {
  const bytes = 3 * decode.size[0] * decode.size[1];
  const limit = options.cacheLimitBytes ?? 2e9;
  if (files.length * bytes > limit) {
    const gigabytes = ((files.length * bytes) / 1e9).toFixed(1);
    options.say?.(
      `Decoded, the images would take ${gigabytes} GB, more than ${limit / 1e9} GB: they are decoded on the fly.`,
    );
    return onTheFly(files, await decoder(decode), options);
  }
  const folder = cacheFolder('images', digest(realpathSync(root), JSON.stringify(decode)).slice(0, 16));
  const pixels = join(folder, `${fingerprint}.bin`);
  const index =
    readIndex(folder, fingerprint, pixels) ?? (await fill(folder, pixels, files, decode, fingerprint, options));
  const broken = new Set(index.broken.map(({ file }) => file));
  return {
    files: files.filter((_, i) => !broken.has(i)),
    skipped: index.broken.map(({ file, reason }) => `${files[file].name}: ${reason}`),
    image: reader(pixels, files.length - broken.size, bytes, options.memoryLimitBytes ?? 512e6),
  };
}

function readIndex(folder: string, fingerprint: string, pixels: string): Index | null {
  const path = join(folder, 'index.json');
  if (!existsSync(path) || !existsSync(pixels)) return null;
  const index: Index = JSON.parse(readFileSync(path, 'utf8'));
  return index.format === 's2h-images/1' && index.fingerprint === fingerprint ? index : null;
}

async function fill(
  folder: string,
  pixels: string,
  files: readonly ImageFile[],
  options: DecodeOptions,
  fingerprint: string,
  { signal, onProgress }: OpenOptions,
): Promise<Index> {
  const decode = await decoder(options);
  makeFolders(folder);
  removeAbandoned(folder);
  const temporary = `${pixels}.tmp-${machine}-${process.pid}`;
  const broken: { file: number; reason: string }[] = [];
  const output = openSync(temporary, 'w');
  try {
    for (let start = 0; start < files.length; start += concurrency) {
      signal?.throwIfAborted();
      const decoded = await Promise.allSettled(files.slice(start, start + concurrency).map(file => decode(file.path)));
      decoded.forEach((result, i) => {
        if (result.status === 'rejected') broken.push({ file: start + i, reason: reasonOf(result.reason) });
        else writeWhole(output, result.value, folder);
      });
      onProgress?.({ label: 'decoding', done: start + decoded.length, total: files.length, unit: 'images' });
    }
    closeSync(output);
    renameSync(temporary, pixels);
  } catch (error) {
    closeQuietly(output);
    rmSync(temporary, { force: true });
    throw error;
  }
  const index: Index = { format: 's2h-images/1', fingerprint, broken };
  writeAtomic(join(folder, 'index.json'), JSON.stringify(index));
  for (const name of readdirSync(folder)) {
    const old = join(folder, name);
    if (name.endsWith('.bin') && old !== pixels) rmSync(old, { force: true });
  }
  return index;
}

/** Process numbers mean something on their own machine, and the cache may be shared by several. */
const machine = digest(hostname()).slice(0, 8);

/** Remove what processes that were killed while they decoded have left. */
function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, at, pid] = /\.bin\.tmp-([0-9a-f]{8})-(\d+)$/.exec(name) ?? [];
    if (at === machine && !isAlive(Number(pid))) rmSync(join(folder, name), { force: true });
  }
}

function writeWhole(file: number, bytes: Uint8Array, folder: string): void {
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
  } catch (error) {
    throw new UserError('E_WRITE', `Could not write decoded images to ${folder}: ${messageOf(error)}.`, {
      where: folder,
      fix: 'Free space, or let XDG_CACHE_HOME name another folder.',
      cause: error,
    });
  }
}

function closeQuietly(file: number): void {
  try {
    closeSync(file);
  } catch {
    // Closed already: what failed came after.
  }
}

/** libvips repeats its reason for every line; the first says it. */
const reasonOf = (error: unknown) => messageOf(error).trim().split('\n')[0];

/** Closes a file when whoever reads from it is no longer there: a data set has no end of its own. */
const abandoned = new FinalizationRegistry<number>(file => closeQuietly(file));

/** @param limit in bytes: up to it the images are held in memory, above it they are read one by one */
function reader(path: string, count: number, bytes: number, limit: number): (index: number) => Uint8Array {
  if (count * bytes <= limit) {
    const all = readFileSync(path);
    return index => all.subarray(index * bytes, (index + 1) * bytes);
  }
  const file = openSync(path, 'r');
  const read = (index: number) => {
    const image = new Uint8Array(bytes);
    for (let at = 0; at < bytes; ) {
      const got = readSync(file, image, at, bytes - at, index * bytes + at);
      if (got === 0)
        throw new UserError('E_DATA_SIZE', `${path} is shorter than it was.`, { where: path, fix: 'Remove it.' });
      at += got;
    }
    return image;
  };
  abandoned.register(read, file);
  return read;
}

/**
 * Nothing is kept. A broken file is found out only when it is asked for: then the next usable image of its class takes
 * its place, so batches keep their length and labels stay right.
 */
function onTheFly(
  files: readonly ImageFile[],
  decode: (path: string) => Promise<Uint8Array>,
  options: OpenOptions,
): ImageStore {
  const skipped: string[] = [];
  const broken = new Set<number>();
  const alike = new Map<string, number[]>();
  const kind = ({ part, label }: ImageFile) => `${part}/${label}`;
  files.forEach((file, i) => {
    const list = alike.get(kind(file));
    if (list) list.push(i);
    else alike.set(kind(file), [i]);
  });
  return {
    files,
    skipped,
    async image(index) {
      const candidates = alike.get(kind(files[index]))!;
      const first = candidates.indexOf(index);
      for (let k = 0; k < candidates.length; k++) {
        const i = candidates[(first + k) % candidates.length];
        if (broken.has(i)) continue;
        try {
          return await decode(files[i].path);
        } catch (error) {
          broken.add(i);
          skipped.push(`${files[i].name}: ${reasonOf(error)}`);
          options.say?.(`${files[i].name} is broken (${reasonOf(error)}); another image of its class takes its place.`);
        }
      }
      throw new UserError('E_DATA_BROKEN', `No image beside ${files[index].name} can be decoded.`, {
        where: files[index].path,
        fix: 'Replace the images of this class, or remove its folder everywhere.',
      });
    },
  };
}
