import { withCacheLock } from '../util/lock.ts';

/**
 * Runs `work` while no other process that asks for the same lock does. The lock of a process that has died is taken over.
 * @param path file that stands for the lock; its folder is created
 * @param waiting called once when another process has it
 * @throws UserError E_WRITE when the folder cannot be written
 */
export const withLock = <T>(path: string, waiting: () => void, work: () => Promise<T>): Promise<T> =>
  withCacheLock(path, { waiting }, work);
