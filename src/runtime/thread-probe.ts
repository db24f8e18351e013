import type { ThreadLimit } from '../util/threads.ts';
import { type ImageBatch, imageFeeder } from './images.ts';
import { type Optimize, openSession, type RuntimeTensor, type Session } from './session.ts';

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
    await all.run(feeds);
    if ((await timeOf(all, feeds)) > longRunMs) return allowed;
    const one = await openSession(path, { threads: 1, optimize });
    try {
      await one.run(feeds);
      const best = { all: Number.POSITIVE_INFINITY, one: Number.POSITIVE_INFINITY };
      for (let round = 0; round < rounds; round++) {
        best.all = Math.min(best.all, await timeOf(all, feeds));
        best.one = Math.min(best.one, await timeOf(one, feeds));
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

async function timeOf(session: Session, feeds: Readonly<Record<string, RuntimeTensor>>): Promise<number> {
  const start = performance.now();
  await session.run(feeds);
  return performance.now() - start;
}
