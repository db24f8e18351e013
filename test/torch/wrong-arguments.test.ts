import { beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../src/torch/index.ts';
import { child } from './child.ts';

beforeAll(() => openEngine());

test('wrong arguments are refused with an error, and never end the process', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { ok, output } = await child('wrong-arguments', { S2H_TEST_SEED: String(seed) });
  expect(ok, `seed ${seed}: ${output}`).toBe(true);
  const { calls, refused, sum } = JSON.parse(output.trim().split('\n').at(-1)!);
  expect(calls).toBeGreaterThan(11_000);
  expect(refused).toBeGreaterThan(calls / 2);
  expect(sum).toBe(6);
});
