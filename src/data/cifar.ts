import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { parseTar } from 'nanotar';
import { writeAtomic } from '../util/atomic.ts';
import { download } from '../util/download.ts';
import { UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import { withCacheLock } from '../util/lock.ts';
import type { Dataset, Split } from './dataset.ts';
import { dataCache, digest, expectBytes, locate, type OpenOptions, readFile, type Source, sha256 } from './source.ts';
import { concatenate, withValidation } from './split.ts';

/** [channels, height, width]; a record is its labels and then the red, green and blue plane, row by row. */
const shape = [3, 32, 32] as const;
const pixels = 3072;

/**
 * One member of the binary archives (https://www.cs.toronto.edu/~kriz/cifar.html).
 * @param labelBytes 1 in CIFAR-10; 2 in CIFAR-100 (coarse, fine), of which the last is the label
 * @param records how many images the file must hold
 * @throws UserError E_DATA_SIZE when the file is shorter or longer, E_DATA_LABEL when a label is no class
 */
export function parseCifar(
  bytes: Uint8Array,
  file: string,
  labelBytes: number,
  records: number,
  classes: readonly string[],
): Split {
  const stride = labelBytes + pixels;
  expectBytes(file, bytes.length, records * stride);
  const labels = new Int32Array(records);
  for (let i = 0; i < records; i++) {
    labels[i] = bytes[i * stride + labelBytes - 1];
    if (labels[i] < classes.length) continue;
    throw new UserError(
      'E_DATA_LABEL',
      `Record ${i} of ${file} has label ${labels[i]}; there are ${classes.length} classes.`,
      {
        where: file,
        fix: 'The file is damaged, or belongs to another data set.',
      },
    );
  }
  return {
    size: records,
    shape,
    classes,
    labels,
    image: index => bytes.subarray(index * stride + labelBytes, (index + 1) * stride),
  };
}

/** What tells one data set in this layout from another; checksums are of the official archive and its members. */
export interface CifarLayout {
  readonly name: string;
  readonly title: string;
  readonly folder: string;
  readonly classes: readonly string[];
  readonly labelBytes: number;
  readonly archive: { readonly url: string; readonly bytes: number; readonly sha256: string };
  /** The last one is the test set. */
  readonly files: readonly { readonly file: string; readonly records: number; readonly sha256: string }[];
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** A data set in the CIFAR layout as a source. */
export function cifar(layout: CifarLayout): Source {
  const files = layout.files.map(({ file }) => [file]);
  const find = (options: Pick<OpenOptions, 'dataDir' | 'say'>) => locate(layout.name, [layout.folder], files, options);
  const { archive } = layout;
  const megabytes = Math.round(archive.bytes / 1e6);
  return {
    name: layout.name,
    classes: layout.classes.length,
    shape,
    about: `${layout.title}: 50,000 + 10,000 colour images; read from ${layout.folder}/, or fetched (${megabytes} MB) from ${archive.url}`,
    find: dataDir => find({ dataDir })?.folder ?? null,
    open: async options => {
      const place = find(options) ?? (await fetchOnce(layout, options, () => find({})));
      return openFiles(layout, place.files, options);
    },
  };
}

function openFiles(layout: CifarLayout, paths: readonly string[], options: OpenOptions): Dataset {
  const sums: string[] = [];
  const parts = layout.files.map(({ records, sha256: official }, i) => {
    const bytes = readFile(paths[i]);
    const part = parseCifar(bytes, paths[i], layout.labelBytes, records, layout.classes);
    sums.push(sha256(bytes));
    if (sums[i] !== official)
      options.say?.(`${paths[i]} is not the official file of ${layout.title}: its content differs.`);
    return part;
  });
  return {
    name: layout.name,
    classes: layout.classes,
    shape,
    ...withValidation(concatenate(parts.slice(0, -1)), options),
    test: parts[parts.length - 1],
    mean: layout.mean,
    std: layout.std,
    augmentation: { padCrop: 4, flip: true, resizedCrop: 1 },
    fingerprint: digest(layout.name, ...sums),
    skipped: [],
  };
}

/** Fetch what no other process is fetching at this moment. @param find where it lies when another has just fetched it */
async function fetchOnce(
  layout: CifarLayout,
  options: OpenOptions,
  find: () => { readonly files: string[] } | null,
): Promise<{ readonly files: string[] }> {
  if (options.download === false) return fetchArchive(layout, options);
  const waiting = () => options.say?.(`Waiting for another process that is fetching ${layout.title}.`);
  return withCacheLock(
    `${join(dataCache(), layout.folder)}.lock`,
    { signal: options.signal, waiting },
    async () => find() ?? (await fetchArchive(layout, options)),
  );
}

/** Fetch, check and unpack the official archive into the cache. */
async function fetchArchive(layout: CifarLayout, options: OpenOptions): Promise<{ files: string[] }> {
  const { archive, title } = layout;
  const folder = join(dataCache(), layout.folder);
  const byHand =
    `Put ${layout.files.map(({ file }) => file).join(', ')} (out of ${archive.url}) into ${folder}, ` +
    'or into a folder that you name with --data-dir or S2H_DATA.';
  if (options.download === false) {
    throw new UserError('E_DATA_MISSING', `${title} is not on this machine, and downloads are off.`, { fix: byHand });
  }
  const packed = join(dataCache(), archive.url.slice(archive.url.lastIndexOf('/') + 1));
  options.say?.(
    `${title} is not on this machine: fetching ${archive.url} (${Math.round(archive.bytes / 1e6)} MB) into ${folder}.`,
  );
  try {
    await download(archive.url, packed, {
      sha256: archive.sha256,
      signal: options.signal,
      onProgress: (done, total) =>
        options.onProgress?.({ label: title, done, total: total ?? archive.bytes, unit: 'bytes' }),
    });
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== 'E_DOWNLOAD') throw error;
    throw new UserError(error.code, error.what, {
      where: error.where,
      fix: `${error.fix ?? ''} ${byHand}`.trim(),
      cause: error,
    });
  }
  const files = await unpack(packed, folder, layout);
  rmSync(packed);
  return { files };
}

async function unpack(packed: string, folder: string, layout: CifarLayout): Promise<string[]> {
  // The copy gives parseTar a buffer that starts at byte 0: it reads the underlying ArrayBuffer from there.
  const tar = new Uint8Array(await promisify(gunzip)(readFile(packed)));
  const members = new Map(
    parseTar(tar).map(member => [member.name.slice(member.name.lastIndexOf('/') + 1), member.data]),
  );
  makeFolders(folder);
  return layout.files.map(({ file, sha256: official }) => {
    const path = join(folder, file);
    const bytes = members.get(file);
    if (!bytes || sha256(bytes) !== official) {
      throw new UserError('E_CHECKSUM', `${file} in ${packed} is missing or not the official one.`, { where: packed });
    }
    if (!existsSync(path) || sha256(readFile(path)) !== official) writeAtomic(path, bytes);
    return path;
  });
}

const words = (text: string) => text.trim().split(/\s+/);

export const cifar10 = cifar({
  name: 'cifar10',
  title: 'CIFAR-10',
  folder: 'cifar-10-batches-bin',
  classes: words('airplane automobile bird cat deer dog frog horse ship truck'),
  labelBytes: 1,
  archive: {
    url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
    bytes: 170_052_171,
    sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
  },
  files: [
    ['data_batch_1.bin', 'cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5'],
    ['data_batch_2.bin', 'a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed'],
    ['data_batch_3.bin', 'bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67'],
    ['data_batch_4.bin', '014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48'],
    ['data_batch_5.bin', '755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add'],
    ['test_batch.bin', '8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b'],
  ].map(([file, sum]) => ({ file, records: 10_000, sha256: sum })),
  mean: [0.4914, 0.4822, 0.4465],
  std: [0.247, 0.2435, 0.2616],
});

export const cifar100 = cifar({
  name: 'cifar100',
  title: 'CIFAR-100',
  folder: 'cifar-100-binary',
  classes: words(`
  apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
  castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
  elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
  man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
  pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
  skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
  tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm`),
  labelBytes: 2,
  archive: {
    url: 'https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz',
    bytes: 168_513_733,
    sha256: '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec',
  },
  files: [
    { file: 'train.bin', records: 50_000, sha256: 'f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29' },
    { file: 'test.bin', records: 10_000, sha256: 'd8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a' },
  ],
  mean: [0.5071, 0.4865, 0.4409],
  std: [0.2673, 0.2564, 0.2762],
});
