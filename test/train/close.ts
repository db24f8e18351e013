import { expect } from 'vitest';

export const normOf = (values: ArrayLike<number>): number =>
  Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));

/** The largest |a - b|; infinite where lengths differ or something is not a number. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}

/** |a - b| <= tolerance * max(norm of b, 1e-3), element by element: how implementations are compared (docs/method.md, Masks). */
export function expectClose(a: ArrayLike<number>, b: ArrayLike<number>, what: string, tolerance = 1e-4): void {
  expect(largestDifference(a, b), what).toBeLessThanOrEqual(tolerance * Math.max(normOf(b), 1e-3));
}
