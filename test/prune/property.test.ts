import { expect, test } from 'vitest';
import { holds, type RandomNet } from './property.ts';

/** A property that nets with a MaxPool do not have. */
const noMaxPool = async ({ model }: RandomNet) => {
  if (model.graph.nodes.some(({ opType }) => opType === 'MaxPool')) throw new Error('here is a MaxPool');
};

const failureOf = (start: { seed: number; path: string }): Promise<string> =>
  holds(200, noMaxPool, start).then(
    () => 'nothing failed',
    error => (error as Error).message,
  );

test('a failing net is shrunk, printed, and can be seen again', async () => {
  const first = await failureOf({ seed: 5, path: '' });
  expect(first).toMatch(/Got error: here is a MaxPool/);
  // The least that has one: its nodes, one a line, beside the head.
  const nodes = first.split('\n').filter(line => / = \w+\(/.test(line));
  expect(nodes.filter(line => line.includes('= MaxPool('))).toHaveLength(1);
  expect(nodes.length).toBeLessThan(12);
  const [, seed, path] = /Again: S2H_SEED=(\d+) S2H_PATH=([\d:]+)$/.exec(first)!;
  const again = await failureOf({ seed: Number(seed), path });
  expect(again).toMatch(/^Property failed after 1 tests/);
  expect(again.split('\n').filter(line => / = \w+\(/.test(line))).toEqual(nodes);
});
