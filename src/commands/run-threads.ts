import { amount } from '../util/format.ts';
import { allowedThreads, type ThreadLimit } from '../util/threads.ts';
import type { RunConfig } from './run-config.ts';

/** The threads of a new run: what is asked for, else all that are allowed. */
export const threadsToBegin = (asked: number | undefined): ThreadLimit =>
  asked === undefined ? allowedThreads() : { threads: asked, why: '--threads' };

/** A sentence about more threads than the process may use; none otherwise. */
export function crowdedNote(asked: number | undefined): string[] {
  const { threads, why } = allowedThreads();
  if (asked === undefined || asked <= threads) return [];
  return [`--threads ${asked} is more than the ${threads} that can run at once (${why}): steps take longer.`];
}

/**
 * The threads of a run that goes on: as many as before, since the last bits depend on it, unless others are asked for or
 * so many are not allowed any more.
 */
export function threadsToGoOn(
  asked: number | undefined,
  { threads: before, given }: RunConfig,
): { threads: ThreadLimit; notes: string[] } {
  if (asked !== undefined) return { threads: threadsToBegin(asked), notes: [] };
  const allowed = allowedThreads();
  if (given.threads !== undefined || before.threads === allowed.threads) return { threads: before, notes: [] };
  if (before.threads < allowed.threads)
    return { threads: { threads: before.threads, why: 'as the run began' }, notes: [] };
  const note = `The run began with ${amount(before.threads, 'thread')} and goes on with ${allowed.threads} (${allowed.why}): the result may differ in the last bits.`;
  return { threads: allowed, notes: [note] };
}
