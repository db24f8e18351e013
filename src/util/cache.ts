import { homedir } from 'node:os';
import { join } from 'node:path';

/** A folder below the cache, `$XDG_CACHE_HOME/s2hpruner` or `~/.cache/s2hpruner`; not created. */
export const cacheFolder = (...parts: string[]): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 's2hpruner', ...parts);
