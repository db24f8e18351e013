/**
 * Interval of a share of which `count` of `n` were seen, at 95 % (Wilson 1927): unlike the standard error it does not
 * shrink to nothing when all or none were. [0, 1] of nothing.
 */
export function wilsonInterval(count: number, n: number): [number, number] {
  if (n === 0) return [0, 1];
  const z = 1.959963984540054;
  const share = count / n;
  const center = (share + z ** 2 / (2 * n)) / (1 + z ** 2 / n);
  const half = (z * Math.sqrt((share * (1 - share)) / n + z ** 2 / (4 * n ** 2))) / (1 + z ** 2 / n);
  // At the ends the bound is the end itself, but for the last bit.
  return [count === 0 ? 0 : Math.max(0, center - half), count === n ? 1 : Math.min(1, center + half)];
}

/** Standard error of a share: that of its interval, so that it is not 0 when all or none were seen. */
export function shareError(count: number, n: number): number {
  const [low, high] = wilsonInterval(count, n);
  return (high - low) / 2 / 1.959963984540054;
}

/**
 * The q-quantile, linear between order statistics: with h = (n − 1) q it is x₍⌊h⌋₎ + (h − ⌊h⌋)(x₍⌊h⌋₊₁₎ − x₍⌊h⌋₎),
 * definition 7 of Hyndman and Fan (1996), NumPy's default. NaN of nothing.
 */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return Number.NaN;
  const at = (sorted.length - 1) * q;
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/** The middle value, or the mean of the two middle ones. */
export const median = (values: ArrayLike<number>): number => quantile(values, 0.5);

/**
 * Exact McNemar test of two classifiers on the same images. Only images on which exactly one of them is right count:
 * b for the first, c for the second. Under equal accuracy b is Binomial(b + c, ½), so the two-sided
 * p = min(1, 2 Σ_{k ≤ min(b, c)} C(b + c, k) / 2^(b + c)); 1 when they never differ.
 */
export function mcnemar(onlyFirst: number, onlySecond: number): number {
  const n = onlyFirst + onlySecond;
  let logTerm = -n * Math.LN2; // log of C(n, k) / 2^n
  let tail = 0;
  for (let k = 0; k <= Math.min(onlyFirst, onlySecond); k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}
