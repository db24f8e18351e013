import { performance } from 'node:perf_hooks';
import type { Torch } from './torch.ts';

/**
 * The rate of a 512³ float32 matrix product in GFLOP/s (2 × 512³ operations), the best of several. Below about 30 a
 * thread it is the reference BLAS, with which linear layers are 15 to 30 times slower than they could be.
 */
export function matmulRate(torch: Torch, size = 512): number {
  return torch.scope(() => {
    const a = torch.op('randn')([size, size], 'float32', null, torch.device);
    const mm = torch.op('mm');
    const [best] = bestMs(torch, [() => mm(a, a)], 200);
    return (2 * size ** 3) / (best * 1e6);
  });
}

/**
 * The shortest time of each of several runs, in milliseconds, alternating until they have taken a time in all; at least
 * twice each, after a first one that is not counted. Other work on the machine then slows all of them alike.
 */
export function bestMs(torch: Torch, runs: readonly (() => unknown)[], budgetMs: number): number[] {
  const once = (run: () => unknown) => {
    const start = performance.now();
    torch.scope(() => {
      run();
      // A GPU computes behind the caller's back: reading a result waits for it.
      if (torch.device === 'cuda') torch.item(torch.zeros([]));
    });
    return performance.now() - start;
  };
  runs.forEach(once);
  const best = runs.map(() => Number.POSITIVE_INFINITY);
  for (let spent = 0, round = 0; spent < budgetMs || round < 2; round++) {
    runs.forEach((run, i) => {
      const ms = once(run);
      best[i] = Math.min(best[i], ms);
      spent += ms;
    });
  }
  return best;
}
