import { describe, expect, test } from 'vitest';
import { type Fusion, type FusionSettings, fuse, normOf, perMember } from '../../src/train/fusion.ts';
import { normals, seeds, stream } from './random.ts';

const settings = (fusion: Fusion, changed: Partial<FusionSettings> = {}): FusionSettings => ({
  fusion,
  kappa: 2,
  relax: 0.01,
  gapWeight: 1,
  ...changed,
});
const sizes = [3, 5, 1];
const zeros = () => sizes.map(size => new Float64Array(size));
const scaled = (gradients: readonly Float64Array[], by: number) => gradients.map(g => g.map(x => by * x));
const minus = (a: readonly Float64Array[], b: readonly Float64Array[]) => a.map((g, i) => g.map((x, k) => x - b[i][k]));
const flat = (gradients: readonly Float64Array[]) => gradients.flatMap(g => [...g]);
const expectEqual = (a: readonly Float64Array[], b: readonly (readonly number[] | Float64Array)[], digits = 10) =>
  flat(a).forEach((x, i) => {
    expect(x).toBeCloseTo(b.flatMap(g => [...g])[i], digits);
  });

test('norms are over all groups', () => {
  expect(normOf([Float64Array.of(3), Float64Array.of(0, 4)])).toBe(5);
  expect(normOf([])).toBe(0);
});

test('gradients are divided by the number of member weights, at least 1', () => {
  expectEqual(perMember([Float64Array.of(6, 3), Float64Array.of(5)], [3, 0]), [[2, 1], [5]]);
});

describe('worked examples: gL = (3; 0), gG = (0; 4), gR = (0; 12)', () => {
  const given = { gL: [Float64Array.of(3), Float64Array.of(0)], gG: [Float64Array.of(0), Float64Array.of(4)] };
  const input = { ...given, gR: [Float64Array.of(0), Float64Array.of(12)], distance: 0.005 };
  const r = Math.SQRT1_2;

  test.each<[string, FusionSettings, [number, number]]>([
    // (1, 1) / sqrt 2, and half of kappa, since the distance is half of relax
    ['gnorm', settings('gnorm'), [r, r + 1]],
    ['gnorm, kappa 0', settings('gnorm', { kappa: 0 }), [r, r]],
    ['gnorm, relax 0.001', settings('gnorm', { relax: 0.001 }), [r, r + 2]],
    ['gnorm, G at 3/4', settings('gnorm', { gapWeight: 0.75 }), [0.8, 0.6 + 1]],
    ['gnorm, no G', settings('gnorm', { gapWeight: 0 }), [1, 1]],
    // |gR| = 12 times the same, plus 5 gR
    ['paper', settings('paper'), [12 * r, 12 * r + 60]],
    ['paper knows no other weights', settings('paper', { gapWeight: 0.3, kappa: 9, relax: 1 }), [12 * r, 12 * r + 60]],
    ['sum', settings('sum'), [3, 16]],
    ['sum, half of G', settings('sum', { gapWeight: 0.5 }), [3, 14]],
  ])('%s', (_, chosen, expected) => {
    expectEqual(
      fuse(input, chosen),
      expected.map(x => [x]),
    );
  });
});

describe.each(seeds(8))('random gradients, seed %i', seed => {
  const random = stream(seed, 'fusion test');
  const draw = () => sizes.map(size => normals(random, size));
  const [gL, gG, gR] = [draw(), draw(), draw()];
  const input = { gL, gG, gR, distance: 0.3 };

  test('gnorm: a task direction of length 1, and R of length kappa outside the tolerance', () => {
    const fused = fuse(input, settings('gnorm'));
    const task = minus(fused, scaled(gR, 2 / normOf(gR)));
    expect(normOf(task)).toBeCloseTo(1, 10);
    expectEqual(
      fuse({ ...input, gL: scaled(gL, 1e-5), gG: scaled(gG, 40), gR: scaled(gR, 7) }, settings('gnorm')),
      fused,
      8,
    );
  });

  test('paper: the length goes with |gR|', () => {
    const fused = fuse(input, settings('paper'));
    expectEqual(fuse({ ...input, gR: scaled(gR, 1e-3) }, settings('paper')), scaled(fused, 1e-3));
    expect(normOf(minus(fused, scaled(gR, 5)))).toBeCloseTo(normOf(gR), 10);
  });

  test.each<Fusion>(['paper', 'gnorm', 'sum'])('%s: a gradient that is zero, or rounding noise, drops out', fusion => {
    const finite = (direction: readonly Float64Array[]) => {
      expect(flat(direction).every(Number.isFinite)).toBe(true);
      return direction;
    };
    const none = zeros();
    const noise = scaled(gG, 1e-14 / normOf(gG));
    finite(fuse({ ...input, gL: none }, settings(fusion)));
    finite(fuse({ ...input, gL: none, gG: none }, settings(fusion)));
    expect(normOf(finite(fuse({ gL: none, gG: none, gR: none, distance: 0 }, settings(fusion))))).toBe(0);
    expectEqual(
      finite(fuse({ ...input, gG: noise }, settings(fusion))),
      fuse({ ...input, gG: none }, settings(fusion)),
    );
    const alone = finite(fuse({ ...input, gG: none, gR: none, distance: 0 }, settings(fusion)));
    const length = { paper: 0, gnorm: 1 / normOf(gL), sum: 1 }[fusion];
    expectEqual(alone, scaled(gL, length));
  });

  test('L and G that cancel leave R', () => {
    expectEqual(fuse({ ...input, gG: scaled(gL, -3) }, settings('gnorm')), scaled(gR, 2 / normOf(gR)), 6);
  });
});
