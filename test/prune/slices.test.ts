import { describe, expect, test } from 'vitest';
import type { Dim } from '../../src/graph/operator.ts';
import { mark, Slices } from '../../src/prune/slices.ts';
import { stream } from '../../src/util/random.ts';

const slices = (lengths: Record<string, Dim>) =>
  new Slices({ dimOf: ({ value }) => lengths[value], rankOf: () => 0, isConstant: value => value === 'constant' });
const at = (value: string) => ({ value, axis: 0 });

test('axes get consecutive numbers when they are first asked for', () => {
  const s = slices({ a: 3, b: 2 });
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

describe('symbolic lengths', () => {
  test('a symbol has no slices, a product has those of its numbers', () => {
    const s = slices({ batch: 'batch', heads: 'batch·4', both: '2·batch·4' });
    expect(s.range(at('batch'))).toBeNull();
    expect(s.range(at('heads'))).toMatchObject({ length: 4, layout: 'batch·4' });
    expect(s.range(at('both'))).toMatchObject({ length: 8 });
  });
});

describe('axes that surely go together', () => {
  test('share their numbers while only one of them was touched', () => {
    const s = slices({ a: 3, b: 3, c: 3, d: 2 });
    const [a, b] = s.shared(at('a'), at('b'))!;
    expect([a.base, b.base, s.count]).toEqual([0, 0, 3]);
    s.range(at('c'));
    const [c, again] = s.shared(at('c'), at('a'))!;
    expect([c.base, again.base]).toEqual([3, 0]);
    const [, d] = s.shared(at('a'), at('d'))!;
    expect([d.base, d.length]).toEqual([6, 2]);
  });

  test('not where they are laid out differently', () => {
    const s = slices({ a: 'batch·4', b: '4·batch', c: 4 });
    const [a, b] = s.shared(at('a'), at('b'))!;
    expect(b.base).not.toBe(a.base);
    expect(s.shared(at('a'), at('c'))![1].base).not.toBe(a.base);
  });
});

test('marks stay with a class, whatever is joined to it', () => {
  const s = slices({ a: 2, constant: 2, b: 2 });
  const [a, constant, b] = ['a', 'constant', 'b'].map(value => s.range(at(value))!);
  s.markRange(b, mark.heads);
  s.union(a.base, constant.base);
  expect([a, b].map(range => s.isMarked(range, mark.constant))).toEqual([true, false]);
  s.union(a.base, b.base);
  expect([a, constant].map(range => s.isMarked(range, mark.heads))).toEqual([true, true]);
});
