import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { cacheFolder } from '../util/cache.ts';
import { messageOf, UserError } from '../util/errors.ts';
import type { Dataset } from './dataset.ts';

/** How far a fetch or a decoding pass has come. */
export interface Progress {
  readonly label: string;
  readonly done: number;
  /** null: not known yet. */
  readonly total: number | null;
  readonly unit: 'bytes' | 'images';
}

export interface OpenOptions {
  /** Where named data sets are looked for first: the data set's folder, or the folder that holds it. */
  readonly dataDir?: string;
  /** false: never use the network; the error says what to put where. */
  readonly download?: boolean;
  /** Share of the training set that is held out to steer choices; 0.1. */
  readonly validationFraction?: number;
  /** Image folders without val/ and test/: share of the images that becomes the test split; 0.2. */
  readonly valFraction?: number;
  /**
   * Image folders: [height, width] of the decoded images; where it is left out, or null, that of the files, which then
   * must not differ.
   */
  readonly size?: readonly [number | null, number | null];
  /**
   * Image folders: the shorter side before the centre crop, in pixels (256 for the usual 224 crop of ImageNet); by
   * default the crop takes all of the shorter side.
   */
  readonly resize?: number;
  /** Image folders: decoded images are held in memory up to this size, and read one by one above it; 512e6. */
  readonly memoryLimitBytes?: number;
  /** Image folders: decoded images are cached up to this size, and decoded on the fly above it; 2e9. */
  readonly cacheLimitBytes?: number;
  readonly signal?: AbortSignal;
  /** One sentence for the user: what is fetched, how a split was chosen, what was skipped. */
  readonly say?: (message: string) => void;
  readonly onProgress?: (progress: Progress) => void;
}

/** A data set that has a name: one file that exports one of these, and one line in `index.ts`. */
export interface Source {
  readonly name: string;
  readonly classes: number;
  /** [channels, height, width]. */
  readonly shape: readonly [number, number, number];
  /** What it is and how it is obtained, in one sentence. */
  readonly about: string;
  /** The folder where it lies complete; null when it would have to be fetched. */
  find(dataDir?: string): string | null;
  /** @param parameters what followed the colon in `name:key=value,…` */
  open(options: OpenOptions, parameters: string): Promise<Dataset>;
}

/** Held out of the training set when the user says nothing. */
export const defaultValidationFraction = 0.1;

/** Where fetched data sets live. */
export const dataCache = (): string => cacheFolder('data');

/**
 * The first place that holds all `files` of a data set, in the order `dataDir`, `$S2H_DATA`, cache; each may be the
 * data set's own folder or the one above it.
 * @param folders names the data set's own folder goes by, '.' included implicitly
 * @param files each entry lists the names that one file may have; the first existing one counts
 * @returns folder and file paths in the order of `files`; null when no place has any of it
 * @throws UserError E_DATA_INCOMPLETE when a place that the user named has some of the files
 */
export function locate(
  name: string,
  folders: readonly string[],
  files: readonly (readonly string[])[],
  { dataDir, say }: Pick<OpenOptions, 'dataDir' | 'say'>,
): { readonly folder: string; readonly files: string[] } | null {
  const named = [dataDir, process.env.S2H_DATA || undefined].filter(place => place !== undefined);
  for (const place of [...named, dataCache()]) {
    for (const folder of ['.', ...folders].map(below => resolve(place, below))) {
      const paths = files.map(names => names.map(file => join(folder, file)).find(existsSync));
      const found = paths.filter(path => path !== undefined);
      if (found.length === files.length) {
        if (dataDir !== undefined && place !== dataDir)
          say?.(`${name} is not in ${dataDir}: it is read from ${folder}.`);
        return { folder, files: found };
      }
      // In the cache a half-filled folder is one whose filling was interrupted, so it is fetched again.
      if (found.length === 0 || place === dataCache()) continue;
      const missing = files.filter((_, i) => paths[i] === undefined).map(names => names[0]);
      throw new UserError(
        'E_DATA_INCOMPLETE',
        `${folder} holds a part of ${name} only: ${missing.join(', ')} missing.`,
        {
          where: folder,
          fix: 'Unpack the archive again, or take the folder away and let it be fetched.',
        },
      );
    }
  }
  return null;
}

/** @throws UserError E_READ with the path */
export function readFile(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UserError('E_READ', `Could not read ${path}: ${messageOf(error)}.`, { where: path, cause: error });
  }
}

/** @throws UserError E_DATA_SIZE with expected and found bytes */
export function expectBytes(file: string, found: number, expected: number): void {
  if (found === expected) return;
  const how = found < expected ? 'It is truncated' : 'It is too long';
  throw new UserError('E_DATA_SIZE', `${file} has ${found} bytes, expected ${expected}.`, {
    where: file,
    fix: `${how}, or is another file than its name says: put the official file in its place.`,
  });
}

/** SHA-256 in hexadecimal over strings and bytes, each preceded by its length. */
export function digest(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}

/** SHA-256 of bytes alone, in hexadecimal, as published beside a file. */
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
