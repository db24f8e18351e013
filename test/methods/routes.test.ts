import { beforeAll, describe, expect, test } from 'vitest';
import { routes, routesOf, routesPattern } from '../../src/methods/index.ts';
import { s2h } from '../../src/methods/s2h.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { run } from './support.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

describe('routes by number', () => {
  test('1,2,3,5,7 is t1, without 5 it is one-way, with 4 bidirectional', () => {
    expect(routesOf('1,2,3,5,7')).toEqual(routes.t1);
    expect(routesOf('1,2,3,7')).toEqual(routes['one-way']);
    expect(routesOf('1,2,3,4,5,7')).toEqual(routes.bidirectional);
    expect(routesOf('t6')).toBe(routes.t6);
  });

  test('names and numbers of routes that exist are taken, others are not', () => {
    for (const good of ['t1', 't6', 'one-way', 'bidirectional', '1', '1,2,3,4,5,7'])
      expect(good).toMatch(routesPattern);
    for (const bad of ['t7', '6', '1,6', '1,,2', '', 'one', '1 2']) expect(bad).not.toMatch(routesPattern);
  });
});

describe('each route is a switch of its own', () => {
  const withOpen = (open: string) => run(torch, s2h, { learn: false, until: 8, settings: { routes: routesOf(open) } });
  const moved = ({ states }: ReturnType<typeof run>) =>
    states.at(-1)!.u.some((u, g) => u.some((x, k) => Math.abs(x - states[0].u[g][k]) > 1e-9));
  const teaches = ({ gradients }: ReturnType<typeof run>) => gradients.at(-1)!.some(g => g?.some(x => x !== 0));

  test.each([
    ['1', true, false],
    ['2', false, true],
    ['3', true, false],
    ['4', true, false],
    ['5', false, true],
    ['7', false, true],
  ])('route %s alone: weights %s, masks %s', (open, weights, masks) => {
    const done = withOpen(open);
    expect(teaches(done)).toBe(weights);
    expect(moved(done)).toBe(masks);
  });

  test('routes 1 and 3 together give the sum of what each gives alone', () => {
    const [both, task, gap] = ['1,3', '1', '3'].map(open => withOpen(open).gradients[0]);
    for (const [i, g] of both.entries()) {
      for (const [k, x] of g!.entries()) expect(x).toBeCloseTo((task[i]?.[k] ?? 0) + (gap[i]?.[k] ?? 0), 5);
    }
  });
});
