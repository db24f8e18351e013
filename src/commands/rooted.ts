import { resolve } from 'node:path';
import { isNamedDataset } from '../data/index.ts';
import { isFile } from './starting-model.ts';

/**
 * Options with their paths made absolute, so that a run goes on from any folder; names of architectures and of data sets
 * stay as they are.
 */
export function rooted<T extends Readonly<Record<string, unknown>>>(given: T): T {
  const root = (key: string, isPath: (value: string) => boolean = () => true) => {
    const value = given[key];
    return typeof value === 'string' && isPath(value) ? { [key]: resolve(value) } : {};
  };
  return {
    ...given,
    ...root('model', isFile),
    ...root('data', value => !isNamedDataset(value)),
    ...root('dataDir'),
    ...root('labelOrder'),
    ...root('preprocessing'),
  };
}
