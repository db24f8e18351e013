import { beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../src/torch/index.ts';
import { child } from './child.ts';

beforeAll(() => openEngine());

test('10,000 training steps leave no tensor and no memory behind', async () => {
  const { ok, output } = await child('leak');
  expect(ok, output).toBe(true);
  const { early, late, first, last } = JSON.parse(output.trim().split('\n').at(-1)!);
  expect(late.live).toBe(early.live);
  // A step allocates about 0.1 MB; 8,000 leaking steps would be hundreds.
  expect(late.rssMb - early.rssMb).toBeLessThan(25);
  expect(last).toBeLessThan(first / 2);
});

test('S2H_DEBUG_LEAKS=1 reports a tensor that is never freed, and where it was made', async () => {
  const { ok, output } = await child('leak-report', { S2H_DEBUG_LEAKS: '1', NODE_OPTIONS: '--expose-gc' });
  expect(ok, output).toBe(true);
  expect(output.match(/TensorLeak/g)).toHaveLength(1);
  expect(output).toMatch(/never freed[\s\S]*forgetful/);
});
