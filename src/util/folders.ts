import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Make a folder and what is missing above it, one level at a time: on file systems that refuse with ENOENT (proc,
 * autofs) Node 20's recursive mkdir never ends.
 * @returns the topmost folder that was made; undefined when it was there
 */
export function makeFolders(path: string): string | undefined {
  if (existsSync(path)) {
    // Says why where it is no folder.
    mkdirSync(path, { recursive: true });
    return undefined;
  }
  const above = dirname(path);
  const first = above === path ? undefined : makeFolders(above);
  try {
    mkdirSync(path);
  } catch (error) {
    // Somebody else made it in the meantime.
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return first;
    throw error;
  }
  return first ?? path;
}
