import { describe, expect, test } from 'vitest';
import { Slices } from '../../src/prune/slices.ts';
import { stream } from '../../src/util/random.ts';

const slices = (lengths: Record<string, number | null>) => new Slices(({ value }) => lengths[value] ?? null);
const at = (value: string) => ({ value, axis: 0 });

test('axes get consecutive numbers when they are first asked for', () => {
  const s = slices({ a: 3, b: 2, unknown: null });
  expect(s.touched(at('b'))).toBeNull();
  expect(s.range(at('b'))).toMatchObject({ base: 0, length: 2 });
  expect(s.range(at('a'))).toMatchObject({ base: 2, length: 3 });
  expect(s.range(at('b'))).toBe(s.touched(at('b')));
  expect(s.range(at('unknown'))).toBeNull();
  expect(s.count).toBe(5);
});

test('unions are an equivalence: the same classes as by colouring', () => {
  const seed = 9;
  const random = stream(seed, 'union');
  const size = 3000;
  const s = slices({ a: size });
  s.range(at('a'));
  const colour = Int32Array.from({ length: size }, (_, i) => i);
  for (let i = 0; i < 2000; i++) {
    const [x, y] = [random.int(size), random.int(size)];
    s.union(x, y);
    const [from, to] = [colour[y], colour[x]];
    for (let k = 0; k < size; k++) if (colour[k] === from) colour[k] = to;
  }
  const rootOf = new Map<number, number>();
  for (let i = 0; i < size; i++) {
    const known = rootOf.get(colour[i]);
    if (known === undefined) rootOf.set(colour[i], s.find(i));
    else expect(s.find(i), `seed ${seed}, slice ${i}`).toBe(known);
  }
  expect(new Set(rootOf.values()).size).toBe(rootOf.size);
});

describe('walls', () => {
  test('the first reason stays, whatever is joined later', () => {
    const s = slices({ a: 4 });
    s.range(at('a'));
    s.wall(0, 'first');
    s.wall(0, 'second');
    s.union(0, 1);
    s.union(2, 1);
    expect([0, 1, 2, 3].map(i => s.wallOf(i))).toEqual(['first', 'first', 'first', null]);
  });

  test('a wall on either side reaches the whole class', () => {
    const s = slices({ a: 4 });
    s.range(at('a'));
    s.wall(3, 'because');
    s.union(0, 3);
    expect(s.wallOf(0)).toBe('because');
  });
});
