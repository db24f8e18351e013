import { expect, test } from 'vitest';
import { mcnemar, median, quantile, wilsonInterval } from '../../src/util/stats.ts';

test("the interval of a share is Wilson's, and never empty", () => {
  const told = (count: number, n: number) => wilsonInterval(count, n).map(x => x.toFixed(4));
  // R: prop.test(count, n, correct = FALSE)$conf.int
  expect(told(8, 10)).toEqual(['0.4902', '0.9433']);
  expect(told(10, 10)).toEqual(['0.7225', '1.0000']);
  expect(told(0, 10)).toEqual(['0.0000', '0.2775']);
  expect(wilsonInterval(0, 0)).toEqual([0, 1]);
  // The bounds are where a z-test of the share just does not refuse it.
  const [low, high] = wilsonInterval(9173, 10000);
  for (const bound of [low, high])
    expect(Math.abs(0.9173 - bound) / Math.sqrt((bound * (1 - bound)) / 10000)).toBeCloseTo(1.959963984540054, 10);
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

test('the McNemar test is the exact sign test of the discordant images', () => {
  expect(mcnemar(0, 0)).toBe(1);
  expect(mcnemar(4, 4)).toBe(1);
  expect(mcnemar(0, 5)).toBeCloseTo(2 / 32, 15);
  expect(mcnemar(1, 9)).toBeCloseTo((2 * 11) / 1024, 15);
  expect(mcnemar(9, 1)).toBeCloseTo(mcnemar(1, 9), 15);
  // in exact fractions, Python: float(Fraction(2 * sum(comb(3000, k) for k in range(1381)), 2**3000))
  expect(mcnemar(1380, 1620) / 1.2670776322047304e-5).toBeCloseTo(1, 9);
});
