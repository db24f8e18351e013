import { describe, expect, test } from 'vitest';
import { layered } from '../../src/report/layered.ts';
import { stream } from '../../src/util/random.ts';

const chain = (nodes: number) => Array.from({ length: nodes - 1 }, (_, i) => [i, i + 1] as const);

describe('a layered drawing', () => {
  test('of a chain is one straight column', () => {
    const { x, row, bend } = layered(5, chain(5));
    expect([...row]).toEqual([0, 1, 2, 3, 4]);
    expect([...x]).toEqual([0, 0, 0, 0, 0]);
    expect([...bend].every(Number.isNaN)).toBe(true);
  });

  test('leads a long edge past the nodes between its ends', () => {
    // 0 -> 1 -> 2 -> 3, and 0 -> 3 beside it.
    const { x, bend } = layered(4, [...chain(4), [0, 3]]);
    expect(Number.isNaN(bend[0])).toBe(true);
    expect(Math.abs(bend[3] - x[1])).toBeGreaterThan(0.5);
  });

  test('puts a source directly over what it leads to', () => {
    const { row } = layered(5, [
      [0, 1],
      [1, 2],
      [2, 4],
      [3, 4],
    ]);
    expect([...row]).toEqual([0, 1, 2, 2, 3]);
  });

  test('of any graph: edges lead downwards, nodes of a row are apart, nodes stand under the middle of two parents', () => {
    for (let seed = 0; seed < 30; seed++) {
      const random = stream(seed, 'graph');
      const nodes = 1 + random.int(60);
      const edges = Array.from({ length: random.int(120) }, () => {
        const to = random.int(nodes);
        return to === 0 ? null : ([random.int(to), to] as const);
      }).filter(edge => edge !== null);
      const { x, row } = layered(nodes, edges);
      for (const [from, to] of edges) expect([seed, row[to] > row[from]]).toEqual([seed, true]);
      for (let a = 0; a < nodes; a++)
        for (let b = 0; b < a; b++)
          if (row[a] === row[b]) expect([seed, Math.abs(x[a] - x[b]) >= 1 - 1e-9]).toEqual([seed, true]);
    }
    const { x } = layered(3, [
      [0, 2],
      [1, 2],
    ]);
    expect(x[2]).toBeCloseTo((x[0] + x[1]) / 2, 12);
  });

  test('of 100,000 nodes is made', () => {
    const nodes = 100_000;
    const edges = [...chain(nodes), ...Array.from({ length: nodes / 10 }, (_, i) => [i, i * 10 + 9] as const)];
    expect(
      layered(
        nodes,
        edges.filter(([a, b]) => a < b),
      ).x,
    ).toHaveLength(nodes);
  });
});
