import { hostname } from 'node:os';
import { join } from 'node:path';
import { messageOf, UserError } from '../util/errors.ts';
import { type LockOwner, tryLock } from '../util/lock.ts';

/** The file in a run's folder that says who is using it. */
export const lockFile = 'run.lock';

/**
 * Take a run's folder for this run; a second run in the same process is another run. The lock of a process that has
 * died is taken over; one of another machine, of whose processes nothing is known, is not.
 * @returns lets others use the folder
 * @throws UserError E_RUN_BUSY (usage) naming the process that has it, E_OUT when the folder cannot be written
 */
export function takeRunLock(folder: string): () => void {
  const path = join(folder, lockFile);
  try {
    const attempt = tryLock(path);
    if (attempt.release) return attempt.release;
    throw busy(folder, path, attempt.owner);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError('E_OUT', `${folder} cannot be written: ${messageOf(error)}.`, {
      where: folder,
      usage: true,
      cause: error,
    });
  }
}

function busy(folder: string, path: string, owner: LockOwner | null): UserError {
  const who = owner ? `Process ${owner.pid}${owner.host === hostname() ? '' : ` on ${owner.host}`}` : 'Another process';
  const elsewhere = owner && owner.host !== hostname() ? ` If it has ended, remove ${path}.` : '';
  return new UserError('E_RUN_BUSY', `${who} is using ${folder}.`, {
    where: folder,
    fix: `Wait for it to end, or choose another --out.${elsewhere}`,
    usage: true,
  });
}
