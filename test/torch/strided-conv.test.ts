import { beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../src/torch/index.ts';
import { child } from './child.ts';

beforeAll(() => openEngine());

// oneDNN corrupts memory in the weight gradient of a strided 1x1 convolution in channels_last when there are 2 to 15
// input channels. The operators write it as a strided slice and a convolution with stride 1; this is what they rely on.
test('a strided 1x1 convolution as slice and convolution is right at every width from 1 to 33', async () => {
  const { ok, output } = await child('strided');
  expect(ok, output).toBe(true);
  const { worst, live } = JSON.parse(output.trim().split('\n').at(-1)!);
  expect(worst).toBeLessThan(1e-5);
  expect(live).toBe(0);
});
