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
    return (2 * size ** 3) / (bestMs(torch, () => mm(a, a), 200) * 1e6);
  });
}

/** The shortest of the runs that fit a time, after a first one that is not counted; at least two. */
export function bestMs(torch: Torch, run: () => unknown, budgetMs: number): number {
  const once = () => {
    const start = performance.now();
    torch.scope(() => {
      run();
      // A GPU computes behind the caller's back: reading a result waits for it.
      if (torch.device === 'cuda') torch.item(torch.zeros([]));
    });
    return performance.now() - start;
  };
  once();
  let best = once();
  for (let spent = best; spent < budgetMs; ) {
    const ms = once();
    best = Math.min(best, ms);
    spent += ms;
  }
  return best;
}
