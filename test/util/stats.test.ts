import { expect, test } from 'vitest';
import {
  binomialError,
  bootstrapInterval,
  mcnemar,
  mean,
  median,
  quantile,
  standardDeviation,
  standardError,
} from '../../src/util/stats.ts';

test('mean, standard deviation and standard error of 1..5', () => {
  const x = [1, 2, 3, 4, 5];
  expect(mean(x)).toBe(3);
  expect(standardDeviation(x)).toBeCloseTo(Math.sqrt(2.5), 15);
  expect(standardError(x)).toBeCloseTo(Math.sqrt(0.5), 15);
  expect(standardDeviation([7])).toBeNaN();
  expect(mean([])).toBeNaN();
});

test('the error of a share is the binomial one, and 0 at both ends', () => {
  expect(binomialError(50, 100)).toBeCloseTo(0.05, 15);
  expect(binomialError(9173, 10000)).toBeCloseTo(Math.sqrt(0.9173 * 0.0827) / 100, 15);
  expect([binomialError(0, 10), binomialError(10, 10)]).toEqual([0, 0]);
});

test('quantiles are linear between order statistics, as numpy.quantile computes them', () => {
  expect(quantile([10, 0, 20, 30], 0.25)).toBe(7.5);
  expect(quantile([4, 1, 3, 2], 0.9)).toBeCloseTo(3.7, 14);
  expect([quantile([5, 1, 9], 0), quantile([5, 1, 9], 1)]).toEqual([1, 9]);
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([-1, -10, 2])).toBe(-1);
  expect(median([])).toBeNaN();
});

test('the bootstrap interval of a mean is near mean ± 1.96 standard errors and repeats with its seed', () => {
  const x = Float64Array.from({ length: 400 }, (_, i) => Math.sin(i) * 3);
  const [low, high] = bootstrapInterval(x, { resamples: 4000, seed: 3 });
  expect(low).toBeCloseTo(mean(x) - 1.96 * standardError(x), 1);
  expect(high).toBeCloseTo(mean(x) + 1.96 * standardError(x), 1);
  expect(bootstrapInterval(x, { resamples: 4000, seed: 3 })).toEqual([low, high]);
  expect(bootstrapInterval([2, 2, 2], { statistic: median })).toEqual([2, 2]);
});

test('the McNemar test is the exact sign test of the discordant images', () => {
  expect(mcnemar(0, 0)).toBe(1);
  expect(mcnemar(4, 4)).toBe(1);
  expect(mcnemar(0, 5)).toBeCloseTo(2 / 32, 15);
  expect(mcnemar(1, 9)).toBeCloseTo((2 * 11) / 1024, 15);
  expect(mcnemar(9, 1)).toBeCloseTo(mcnemar(1, 9), 15);
  // in exact fractions, Python: float(Fraction(2 * sum(comb(3000, k) for k in range(1381)), 2**3000))
  expect(mcnemar(1380, 1620) / 1.2670776322047304e-5).toBeCloseTo(1, 9);
});
