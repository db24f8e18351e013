import { stream } from './random.ts';

/** Arithmetic mean, Σx / n; NaN of nothing. */
export const mean = (values: ArrayLike<number>): number => sum(values) / values.length;

/** Sample standard deviation, √(Σ(x − mean)² / (n − 1)); NaN below two values. */
export function standardDeviation(values: ArrayLike<number>): number {
  if (values.length < 2) return Number.NaN;
  const center = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] - center) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}

/** Standard error of the mean, s / √n with the sample standard deviation s; NaN below two values. */
export const standardError = (values: ArrayLike<number>): number =>
  standardDeviation(values) / Math.sqrt(values.length);

/** Standard error of a share such as an accuracy, √(p (1 − p) / n) with p = count / n. */
export const binomialError = (count: number, n: number): number => Math.sqrt(((count / n) * (1 - count / n)) / n);

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

export interface BootstrapOptions {
  /** Of the resampled values; the mean by default. */
  readonly statistic?: (values: Float64Array) => number;
  /** Coverage, 0.95 by default. */
  readonly level?: number;
  /** 2000 by default. */
  readonly resamples?: number;
  readonly seed?: number;
}

/**
 * Percentile bootstrap interval (Efron 1979): the (1 − level)/2 and (1 + level)/2 quantiles of the statistic over
 * `resamples` draws of n values with replacement. [NaN, NaN] of nothing.
 */
export function bootstrapInterval(values: ArrayLike<number>, options: BootstrapOptions = {}): [number, number] {
  const { statistic = mean, level = 0.95, resamples = 2000, seed = 0 } = options;
  if (values.length === 0) return [Number.NaN, Number.NaN];
  const random = stream(seed, 'bootstrap');
  const draw = new Float64Array(values.length);
  const statistics = Float64Array.from({ length: resamples }, () => {
    for (let i = 0; i < draw.length; i++) draw[i] = values[random.int(values.length)];
    return statistic(draw);
  });
  return [quantile(statistics, (1 - level) / 2), quantile(statistics, (1 + level) / 2)];
}

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

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
