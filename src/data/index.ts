import { existsSync, statSync } from 'node:fs';
import { UserError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { cifar10, cifar100 } from './cifar.ts';
import type { Dataset } from './dataset.ts';
import { openImageFolder } from './image-folder.ts';
import { mnist } from './mnist.ts';
import type { OpenOptions, Source } from './source.ts';
import { synthetic } from './synthetic.ts';

export type * from './dataset.ts';
export type { OpenOptions, Progress } from './source.ts';

/** Data sets that have a name. */
const sources: readonly Source[] = [mnist, cifar10, cifar100, synthetic];

/** The table's data set that a spec means, whatever its parameters are; undefined for a path. */
function sourceOf(spec: string): Source | undefined {
  const colon = spec.indexOf(':');
  const source = sources.find(({ name }) => name === (colon < 0 ? spec : spec.slice(0, colon)));
  return colon < 0 || source === synthetic ? source : undefined;
}

/** Whether a spec names a data set of the table, and no folder of images. */
export const isNamedDataset = (spec: string): boolean => sourceOf(spec) !== undefined;

/**
 * Open a data set: a name out of the table (`cifar100`, `synthetic:classes=4,size=16`), or the path of a folder of
 * images. Nothing is fetched unless a named data set is on none of the places; then `say` tells what and where from.
 * @throws UserError E_DATA_UNKNOWN with the nearest name and what there is; E_DATA_* and E_DOWNLOAD of the data set
 */
export async function openDataset(spec: string, options: OpenOptions = {}): Promise<Dataset> {
  checkFraction('validation fraction', options.validationFraction);
  checkFraction('--val-fraction', options.valFraction);
  const { dataDir } = options;
  if (dataDir !== undefined && !statSync(dataDir, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UserError('E_DATA_DIR', `${dataDir} is not a folder.`, {
      where: '--data-dir',
      fix: 'Name the folder that holds the data set, or leave the option out.',
      usage: true,
    });
  }
  const source = sourceOf(spec);
  if (source) return source.open(options, spec.slice(source.name.length + 1));
  if (!existsSync(spec)) throw unknown(spec);
  if (statSync(spec).isDirectory()) return openImageFolder(spec, options);
  throw new UserError('E_DATA_UNKNOWN', `${spec} is a file; a data set is a name or a folder of images.`, {
    where: spec,
    fix: `Names: ${sources.map(({ name }) => name).join(', ')}.`,
    usage: true,
  });
}

/** What there is, for the command that lists data sets. */
export function describeDatasets(dataDir?: string): {
  readonly name: string;
  readonly classes: number;
  readonly shape: readonly [number, number, number];
  readonly about: string;
  /** The folder where it lies; null: it would be fetched. */
  readonly found: string | null;
}[] {
  return sources.map(source => {
    const { name, classes, shape, about } = source;
    return { name, classes, shape, about, found: source.find(dataDir) };
  });
}

function checkFraction(name: string, value: number | undefined): void {
  if (value === undefined || (value > 0 && value < 1)) return;
  throw new UserError('E_DATA_FRACTION', `The ${name} is ${value}; it lies between 0 and 1, both excluded.`, {
    usage: true,
  });
}

function unknown(spec: string): UserError {
  const names = sources.map(({ name }) => name);
  const near = nearest(spec, names);
  const guess = near === undefined ? '' : `Did you mean ${near}? `;
  return new UserError('E_DATA_UNKNOWN', `'${spec}' is neither a data set nor a folder.`, {
    fix: `${guess}There are ${names.join(', ')}, and any folder of images.`,
    usage: true,
  });
}
