import { admissibleCounts } from '../prune/budget.ts';

/** How many channels a mask keeps: the paper's threshold at the mean, or the expectation rounded up (docs/method.md, Masks). */
export type CountRule = 'mean' | 'ceil';

/** The masks of one group for one value of u. Everything is by rank: entry 0 is kept longest. */
export interface Masks {
  /** p = softmax(u / T): [K], a distribution over the admissible counts. */
  readonly p: Float64Array;
  /** w: [C], the relaxed mask, 1 = w[0] >= w[1] >= ... */
  readonly w: Float64Array;
  /** E = sum of w, the expected count. */
  readonly expected: number;
  /** c, the count that the hard network keeps. */
  readonly count: number;
}

/** The admissible counts of a group and what a vector u over them means (docs/method.md, Masks). */
export interface MaskGroup {
  readonly size: number;
  readonly granularity: number;
  /** n: [K] */
  readonly counts: readonly number[];
}

export const maskGroup = (size: number, granularity: number): MaskGroup => {
  const step = Math.min(size, granularity);
  return { size, granularity: step, counts: admissibleCounts(size, step) };
};

/**
 * u such that one count has probability 1 - d/C and the others share the rest (docs/method.md, Masks).
 * @param start which one, as a share of the channels; 1: all of them
 */
export function initialLogits({ size, granularity, counts }: MaskGroup, temperature = 1, start = 1): Float64Array {
  const u = new Float64Array(counts.length);
  if (counts.length > 1) {
    const t = 1 - granularity / size;
    const nearest = counts.findIndex(n => n >= start * size);
    u[nearest] = temperature * Math.log(((counts.length - 1) * t) / (1 - t));
  }
  return recentred(u);
}

/** u minus its mean: a constant added to u changes nothing (docs/method.md, Masks). */
export function recentred(u: Float64Array): Float64Array {
  const mean = u.reduce((a, b) => a + b, 0) / u.length;
  return u.map(x => x - mean);
}

/** w, m's count, E and c of one group (docs/method.md, Masks). */
export function masksOf(group: MaskGroup, u: Float64Array, rule: CountRule, temperature = 1): Masks {
  const { counts, size, granularity } = group;
  const largest = u.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const p = u.map(x => Math.exp((x - largest) / temperature));
  const total = p.reduce((a, b) => a + b, 0);
  for (let k = 0; k < p.length; k++) p[k] /= total;
  const w = new Float64Array(size);
  let expected = 0;
  let keep = 0;
  for (let k = p.length - 1; k >= 0; k--) {
    keep += p[k];
    expected += p[k] * counts[k];
    w.fill(keep, k === 0 ? 0 : counts[k - 1], counts[k]);
  }
  const count =
    rule === 'ceil'
      ? // Slack for rounding: 8.0000005 channels are 8.
        (counts.find(n => n >= expected - 1e-4 * granularity) ?? size)
      : Math.max(
          1,
          w.reduce((kept, x) => kept + Number(x >= expected / size - 1e-6), 0),
        );
  return { p, w, expected, count };
}

/**
 * The gradient for u, in closed form (docs/method.md, Masks): with a_k the sum of dLoss/dw over block k, b = dLoss/dE and
 * q_k = a_1 + ... + a_k + b n_k, it is p_k / T (q_k - sum of p_j q_j).
 * @param dw dLoss/dw by rank: [C]
 */
export function pullback(
  group: MaskGroup,
  { p }: Masks,
  dw: ArrayLike<number> | null,
  dExpected = 0,
  temperature = 1,
): Float64Array {
  const { counts } = group;
  const q = new Float64Array(counts.length);
  let sum = 0;
  let mean = 0;
  for (let k = 0; k < counts.length; k++) {
    if (dw) for (let i = k === 0 ? 0 : counts[k - 1]; i < counts[k]; i++) sum += dw[i];
    q[k] = sum + dExpected * counts[k];
    mean += p[k] * q[k];
  }
  return q.map((value, k) => (p[k] / temperature) * (value - mean));
}
