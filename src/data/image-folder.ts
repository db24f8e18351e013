import { readdirSync, statSync } from 'node:fs';
import { basename, extname, join, relative, resolve, sep } from 'node:path';
import { UserError } from '../util/errors.ts';
import type { Dataset, Split } from './dataset.ts';
import { commonSize } from './decode.ts';
import { type ImageFile, type ImageStore, openImages } from './image-store.ts';
import { digest, type OpenOptions } from './source.ts';
import { holdOut, subset, withValidation } from './split.ts';

const extensions = ['.jpg', '.jpeg', '.png', '.webp'];
const defaultTestFraction = 0.2;
const layoutHelp =
  'Expected: <folder>/train/<class>/*.jpg and <folder>/val/<class>/*.jpg, or <folder>/<class>/*.jpg (also .png, .webp).';

/**
 * A folder of images as a data set; classes are the sub-folders' names, sorted by code point.
 *
 * - `train/` and `val/` (or `valid/`, `validation/`) or `test/`: the latter is the test split, a share of `train/` the
 *   validation split. With all three, `val/` is the validation split and `test/` the test split.
 * - `train/` alone, or class folders alone: a share of each class is the test split, a share of the rest the validation
 *   split.
 *
 * Hidden files are ignored, images in deeper folders belong to the class above. Files with another extension and folders
 * without images are not used, which is said.
 * @throws UserError E_DATA_LAYOUT when there are no class folders, E_DATA_CLASSES when a class is missing in one part
 *   or has no usable image, E_DATA_IMAGE_SIZE when sizes differ and none was asked for
 */
export async function openImageFolder(path: string, options: OpenOptions): Promise<Dataset> {
  const root = resolve(path);
  const { parts, classes } = scan(root, options);
  const files = [...parts.values()].flat();
  const size = await sizeOf(files, root, options);
  const decode = { size, resize: options.resize ?? Math.min(...size) };
  if (decode.resize < Math.min(...size)) {
    throw new UserError(
      'E_DATA_IMAGE_SIZE',
      `Images of ${size.join('x')} cannot be cut out of a shorter side of ${decode.resize}.`,
      {
        usage: true,
      },
    );
  }
  const fingerprint = digest('images', JSON.stringify(decode), ...files.map(describe));
  const store = await openImages(root, files, decode, fingerprint, options);
  if (store.skipped.length > 0) {
    options.say?.(`${store.skipped.length} broken images are skipped: ${some(store.skipped)}.`);
  }
  const splits = divide(store, [...parts.keys()], [3, ...size], classes, options);
  return {
    name: basename(root),
    classes,
    shape: [3, ...size],
    ...splits,
    ...(await channelStatistics(splits.train)),
    augmentation: { padCrop: 0, flip: true, resizedCrop: 0.35 },
    fingerprint,
    skipped: store.skipped,
  };
}

async function sizeOf(
  files: readonly ImageFile[],
  root: string,
  { size: [height, width] = [null, null], signal }: OpenOptions,
): Promise<readonly [number, number]> {
  if (height !== null && width !== null) return [height, width];
  const paths = files.map(file => file.path);
  const common = await commonSize(paths, signal);
  if (common) return [height ?? common[0], width ?? common[1]];
  throw new UserError('E_DATA_IMAGE_SIZE', `The images in ${root} differ in size, and the network's input is open.`, {
    where: root,
    fix: 'Say to which size they are brought: --size 224',
    usage: true,
  });
}

/** Name, length and time: a changed image shows in one of them. */
function describe({ name, path }: ImageFile): string {
  const { size, mtimeMs } = statSync(path);
  return `${name}:${size}:${mtimeMs}`;
}

type PartName = 'all' | 'train' | 'val' | 'test';

/** The parts that the folder has, with their files in order of class and name. */
function scan(root: string, { say }: OpenOptions): { parts: Map<PartName, ImageFile[]>; classes: string[] } {
  const below = foldersIn(root);
  const partFolder = (...names: string[]) =>
    names.find(name => below.includes(name) && foldersIn(join(root, name)).length > 0);
  const folders = new Map<PartName, string>();
  const train = partFolder('train');
  const val = partFolder('val', 'valid', 'validation');
  const test = partFolder('test');
  if (train) folders.set('train', train);
  if (train && val) folders.set('val', val);
  if (train && test) folders.set('test', test);
  if (!train && (val ?? test)) {
    throw new UserError('E_DATA_LAYOUT', `${root} has ${val ?? test}/ but no train/ with class folders.`, {
      where: root,
      fix: layoutHelp,
    });
  }
  if (!train) folders.set('all', '.');
  if (train && !test && below.includes('test')) say?.('test/ has no class folders: it is not used.');

  const unused: string[] = [];
  const byClass = new Map([...folders].map(([part, folder]) => [part, classesIn(join(root, folder), root, unused)]));
  const classes = [...new Set([...byClass.values()].flatMap(found => [...found.keys()]))].sort();
  if (classes.length === 0) {
    throw new UserError('E_DATA_LAYOUT', `${root} has no class folders with images.`, { where: root, fix: layoutHelp });
  }
  const parts = new Map<PartName, ImageFile[]>();
  for (const [part, found] of byClass) {
    const folder = folders.get(part)!;
    const missing = classes.filter(name => !found.has(name));
    if (missing.length > 0) {
      throw new UserError('E_DATA_CLASSES', `${folder}/ has no images of ${some(missing.map(name => `'${name}'`))}.`, {
        where: join(root, folder),
        fix: 'Every class needs images in every part: add them, or remove the class everywhere.',
      });
    }
    parts.set(
      part,
      classes.flatMap((name, label) =>
        found.get(name)!.map(path => ({ path, label, part, name: relative(root, path).split(sep).join('/') })),
      ),
    );
  }
  tellUnused(unused, root, say);
  return { parts, classes };
}

/** @param unused files that are no images, and folders without one (with a separator at the end) */
function tellUnused(unused: readonly string[], root: string, say: OpenOptions['say']): void {
  const name = (path: string) => relative(root, path).split(sep).join('/');
  const empty = unused.filter(path => path.endsWith(sep)).map(path => `${name(path)}/`);
  const files = unused.filter(path => !path.endsWith(sep)).map(name);
  if (empty.length > 0) say?.(`Folders without a usable image are no classes: ${some(empty)}.`);
  if (files.length > 0)
    say?.(
      `${files.length} ${files.length === 1 ? 'file is' : 'files are'} not used, being no ${extensions.join(', ')}: ${some(files)}.`,
    );
}

const isHidden = (name: string) => name.startsWith('.') || name === '__MACOSX';

/** Names of the visible folders in a folder, symbolic links to folders included, sorted. */
const foldersIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter(entry => !isHidden(entry.name) && kindOf(folder, entry) === 'folder')
    .map(entry => entry.name)
    .sort();

function kindOf(folder: string, entry: import('node:fs').Dirent): 'folder' | 'file' | 'other' {
  const what = entry.isSymbolicLink() ? statSync(join(folder, entry.name), { throwIfNoEntry: false }) : entry;
  return what?.isDirectory() ? 'folder' : what?.isFile() ? 'file' : 'other';
}

/** Class name to image paths; folders without images do not count, and are added to `unused`. */
function classesIn(folder: string, root: string, unused: string[]): Map<string, string[]> {
  const found = new Map(foldersIn(folder).map(name => [name, imagesIn(join(folder, name), unused)]));
  for (const [name, images] of found) {
    if (images.length > 0) continue;
    found.delete(name);
    unused.push(join(folder, name) + sep);
  }
  if (found.size === 0 && imagesIn(folder, []).length > 0) {
    throw new UserError('E_DATA_LAYOUT', `${folder} has images, but no class folders.`, {
      where: root,
      fix: layoutHelp,
    });
  }
  return found;
}

/** @param unused gets the files that are no images */
function imagesIn(folder: string, unused: string[]): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(entry => !isHidden(entry.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(entry => {
      const path = join(folder, entry.name);
      const kind = kindOf(folder, entry);
      if (kind === 'folder') return imagesIn(path, unused);
      if (kind !== 'file') return [];
      if (extensions.includes(extname(entry.name).toLowerCase())) return [path];
      unused.push(path);
      return [];
    });
}

function divide(
  store: ImageStore,
  parts: readonly PartName[],
  shape: readonly [number, number, number],
  classes: readonly string[],
  options: OpenOptions,
): Pick<Dataset, 'train' | 'validation' | 'test'> {
  const whole: Split = {
    size: store.files.length,
    shape,
    classes,
    labels: Int32Array.from(store.files, file => file.label),
    image: index => store.image(index),
  };
  const part = (name: PartName) => {
    const split = subset(
      whole,
      Int32Array.from(store.files.keys()).filter(i => store.files[i].part === name),
    );
    const empty = classes.find((_, label) => !split.labels.includes(label));
    if (empty === undefined) return split;
    throw new UserError(
      'E_DATA_CLASSES',
      `No image of '${empty}'${name === 'all' ? '' : ` in ${name}/`} can be decoded.`,
      {
        fix: 'Replace the broken images, or remove the class everywhere.',
      },
    );
  };
  const [first] = parts;
  if (parts.includes('val') && parts.includes('test')) {
    return { train: part('train'), validation: part('val'), test: part('test') };
  }
  if (parts.length === 2) return { ...withValidation(part('train'), options), test: part(parts[1]) };
  const fraction = options.valFraction ?? defaultTestFraction;
  const all = part(first);
  const { rest, held } = holdOut(all.labels, fraction);
  if (held.length === 0) {
    options.say?.('No image can be held out (one image per class): the result is measured on the training images.');
    return { train: all, validation: all, test: all };
  }
  options.say?.(
    `No val/ or test/ folder: ${held.length} of ${all.size} images (${fraction} of each class) are held out.`,
  );
  return { ...withValidation(subset(all, rest), options), test: subset(all, held) };
}

/** Mean and deviation per channel, scaled to 0..1, of at most 1,000 images spread evenly over a split. */
async function channelStatistics(split: Split): Promise<{ mean: number[]; std: number[] }> {
  const count = Math.min(1000, split.size);
  const [channels, height, width] = split.shape;
  const plane = height * width;
  const sum = new Float64Array(channels);
  const squares = new Float64Array(channels);
  for (let k = 0; k < count; k++) {
    const image = await split.image(Math.floor((k * split.size) / count));
    for (let i = 0; i < image.length; i++) {
      const channel = Math.floor(i / plane);
      sum[channel] += image[i];
      squares[channel] += image[i] * image[i];
    }
  }
  const n = count * plane;
  const mean = Array.from(sum, total => total / n / 255);
  // Images of one colour deviate by nothing; dividing by the least step of a pixel keeps the result finite.
  const std = Array.from(squares, (total, c) =>
    Math.max(1 / 255, Math.sqrt(Math.max(0, total / n / 255 ** 2 - mean[c] ** 2))),
  );
  return { mean, std };
}

const some = (names: readonly string[]) =>
  names.slice(0, 5).join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');
