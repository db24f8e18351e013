import type { ThreadLimit } from '../util/threads.ts';
import { type ImageBatch, imageFeeder } from './images.ts';
import { type Optimize, openSession } from './session.ts';

/** Above this a run is made of operators that are worth sharing out. */
const longRunMs = 50;
const rounds = 5;

/**
 * One thread, or all that are allowed: whichever is faster on a batch of images. Threads have to be woken for every
 * operator, which costs small networks more than it saves.
 * @throws UserError those of `openSession` and `imageFeeder`
 */
export async function fasterThreads(
  path: string,
  batch: ImageBatch,
  allowed: ThreadLimit,
  optimize: Optimize,
): Promise<ThreadLimit> {
  if (allowed.threads === 1) return allowed;
  const all = await openSession(path, { threads: allowed.threads, optimize });
  try {
    const [{ feeds }] = imageFeeder(all.inputs, all.name)(batch);
    const withAll = await all.bind(feeds);
    await withAll.time();
    if ((await withAll.time()) > longRunMs) return allowed;
    const one = await openSession(path, { threads: 1, optimize });
    try {
      const withOne = await one.bind(feeds);
      await withOne.time();
      const best = { all: Number.POSITIVE_INFINITY, one: Number.POSITIVE_INFINITY };
      for (let round = 0; round < rounds; round++) {
        best.all = Math.min(best.all, await withAll.time());
        best.one = Math.min(best.one, await withOne.time());
      }
      if (best.all <= best.one) return allowed;
      return { threads: 1, why: `faster than ${allowed.threads} on the first images` };
    } finally {
      await one.dispose();
    }
  } finally {
    await all.dispose();
  }
}
