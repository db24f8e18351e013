import { describe, expect, test } from 'vitest';
import { type CountRule, initialLogits, maskGroup, masksOf, pullback, recentred } from '../../src/train/mask.ts';
import { normOf } from './close.ts';
import { normals, seeds, stream } from './random.ts';

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);
const temperatures = [1, 0.3, 4];

describe('admissible counts', () => {
  test.each([
    [8, 1, [1, 2, 3, 4, 5, 6, 7, 8]],
    [8, 2, [2, 4, 6, 8]],
    [10, 4, [4, 10]],
    [11, 4, [4, 11]],
    [12, 4, [4, 8, 12]],
    [7, 3, [3, 7]],
    [5, 8, [5]],
    [5, 5, [5]],
    [1, 1, [1]],
  ])('%i channels in steps of %i', (size, granularity, counts) => {
    expect(maskGroup(size, granularity).counts).toEqual(counts);
  });
});

describe.each(seeds(20))('seed %i', seed => {
  const random = stream(seed, 'mask test');
  const size = 1 + random.int(40);
  const group = maskGroup(size, 1 + random.int(6));
  const temperature = temperatures[seed % 3];
  const u = normals(random, group.counts.length, 1 + random.int(8));
  const masks = masksOf(group, u, 'ceil', temperature);

  test('w starts at 1, never grows, is even within a step, and sums to E', () => {
    expect(masks.w.length).toBe(size);
    expect(masks.w[0]).toBeCloseTo(1, 12);
    for (let i = 1; i < size; i++) {
      expect(masks.w[i]).toBeLessThanOrEqual(masks.w[i - 1]);
      if (!group.counts.includes(i)) expect(masks.w[i]).toBe(masks.w[i - 1]);
    }
    const p = u.map(x => Math.exp(x / temperature));
    const expected = sum(p.map((x, k) => x * group.counts[k])) / sum(p);
    expect(masks.expected).toBeCloseTo(expected, 9);
    expect(sum(masks.w)).toBeCloseTo(expected, 9);
    expect(sum(masks.p)).toBeCloseTo(1, 12);
  });

  test('both counts are admissible; ceil is the smallest that reaches E, mean counts the entries at or above the mean', () => {
    const ceil = masks.count;
    expect(group.counts).toContain(ceil);
    expect(ceil).toBeGreaterThanOrEqual(masks.expected - 1e-4 * group.granularity);
    const below = group.counts[group.counts.indexOf(ceil) - 1];
    if (below !== undefined) expect(below).toBeLessThan(masks.expected);
    const { count } = masksOf(group, u, 'mean', temperature);
    expect(group.counts).toContain(count);
    expect(count).toBe([...masks.w].filter(w => w >= masks.expected / size - 1e-6).length);
  });

  test('a constant added to u changes nothing, and recentring takes it away', () => {
    const shifted = masksOf(
      group,
      u.map(x => x + 7.5),
      'ceil',
      temperature,
    );
    shifted.w.forEach((w, i) => {
      expect(w).toBeCloseTo(masks.w[i], 12);
    });
    const centred = recentred(u.map(x => x + 7.5));
    expect(sum(centred)).toBeCloseTo(0, 9);
    expect(centred[0] - recentred(u)[0]).toBeCloseTo(0, 9);
  });

  test('the gradient for u is that of finite differences, and sums to 0', () => {
    const a = normals(random, size);
    const b = random.normal();
    const loss = (logits: Float64Array) => {
      const { w, expected } = masksOf(group, logits, 'ceil', temperature);
      return sum(w.map((x, i) => a[i] * Math.sin(x))) + b * expected ** 2;
    };
    const found = pullback(
      group,
      masks,
      masks.w.map((x, i) => a[i] * Math.cos(x)),
      2 * b * masks.expected,
      temperature,
    );
    const h = 1e-5;
    const numeric = u.map((_, k) => {
      const moved = (by: number) => u.map((x, i) => (i === k ? x + by : x));
      return (loss(moved(h)) - loss(moved(-h))) / (2 * h);
    });
    expect(normOf(found.map((x, k) => x - numeric[k]))).toBeLessThanOrEqual(1e-7 * Math.max(1, normOf(numeric)));
    expect(Math.abs(sum(found))).toBeLessThanOrEqual(1e-12 * Math.max(1, normOf(found)) * size);
  });

  test('dE/du is p (n - E) / T', () => {
    pullback(group, masks, null, 1, temperature).forEach((value, k) => {
      expect(value).toBeCloseTo((masks.p[k] * (group.counts[k] - masks.expected)) / temperature, 9);
    });
  });
});

describe('initial u', () => {
  test.each([
    [64, 1],
    [16, 1],
    [10, 4],
    [32, 8],
  ])('%i channels in steps of %i: all are kept with probability 1 - d/C, the rest is even', (size, granularity) => {
    for (const temperature of temperatures) {
      const group = maskGroup(size, granularity);
      const u = initialLogits(group, temperature);
      const { p, count } = masksOf(group, u, 'ceil', temperature);
      expect(p.at(-1)).toBeCloseTo(1 - granularity / size, 10);
      for (const x of p.slice(0, -1)) expect(x).toBeCloseTo(granularity / size / (p.length - 1), 10);
      expect(count).toBe(size);
      expect(sum(u)).toBeCloseTo(0, 9);
    }
  });

  test('the masks may start at a share of the channels', () => {
    for (const [share, nearest] of [
      [0.4, 28],
      [0.375, 24],
      [1, 64],
    ]) {
      const { p } = masksOf({ ...maskGroup(64, 4) }, initialLogits(maskGroup(64, 4), 1, share), 'ceil');
      const peak = maskGroup(64, 4).counts.indexOf(nearest);
      expect(p[peak]).toBeCloseTo(1 - 4 / 64, 10);
      for (const [k, x] of p.entries()) if (k !== peak) expect(x).toBeCloseTo(4 / 64 / (p.length - 1), 10);
    }
  });

  test('64 channels: E is 63.5, of which ceil keeps 64 and mean 32', () => {
    const group = maskGroup(64, 1);
    const u = initialLogits(group);
    expect(masksOf(group, u, 'ceil').expected).toBeCloseTo(63.5, 9);
    expect(masksOf(group, u, 'ceil').count).toBe(64);
    expect(masksOf(group, u, 'mean').count).toBe(32);
  });

  test('a single admissible count needs no logit', () => {
    const group = maskGroup(3, 8);
    expect([...initialLogits(group)]).toEqual([0]);
    expect(masksOf(group, initialLogits(group), 'mean')).toMatchObject({ expected: 3, count: 3 });
    expect([...pullback(group, masksOf(group, initialLogits(group), 'ceil'), [1, 2, 3], 1)]).toEqual([0]);
  });
});

describe('counts', () => {
  /** u under which exactly two counts have weight, so that E is what is asked for. */
  const logitsFor = (counts: readonly number[], low: number, high: number, expected: number) =>
    Float64Array.from(counts, n => {
      const share = n === low ? (high - expected) / (high - low) : n === high ? (expected - low) / (high - low) : 0;
      return share > 0 ? Math.log(share) : -800;
    });

  test.each([
    [8.00009, 8],
    [8.00011, 9],
    [8.9, 9],
    [8, 8],
  ])('one channel a step: E = %d keeps %i', (expected, count) => {
    const group = maskGroup(16, 1);
    expect(masksOf(group, logitsFor(group.counts, 8, 9, expected), 'ceil').count).toBe(count);
  });

  test.each([
    [8.00039, 8],
    [8.00041, 12],
  ])('four channels a step: E = %d keeps %i', (expected, count) => {
    const group = maskGroup(16, 4);
    expect(masksOf(group, logitsFor(group.counts, 8, 12, expected), 'ceil').count).toBe(count);
  });

  test.each(['mean', 'ceil'] as CountRule[])('one count certain: %s keeps it, however large u is', rule => {
    for (const granularity of [1, 4, 5]) {
      const group = maskGroup(18, granularity);
      group.counts.forEach((n, at) => {
        for (const height of [60, 5000]) {
          const u = Float64Array.from(group.counts, (_, k) => (k === at ? height : -height));
          expect(masksOf(group, u, rule)).toMatchObject({ count: n, expected: n });
        }
      });
    }
  });

  test('at u = 0 both rules keep about half', () => {
    const group = maskGroup(64, 1);
    const flat = new Float64Array(64);
    expect(masksOf(group, flat, 'ceil')).toMatchObject({ count: 33, expected: 32.5 });
    // w_i = 1 - (i - 1) / 64 reaches its mean 32.5 / 64 up to i = 32.5.
    expect(masksOf(group, flat, 'mean').count).toBe(32);
  });
});
