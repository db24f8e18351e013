import { expect, test } from 'vitest';
import { openEngine } from '../../src/torch/index.ts';
import { clipped } from '../../src/train/clip.ts';

test('Gradients are scaled to the limit by their norm over all parameters, small and missing ones left alone', async () => {
  const torch = await openEngine();
  torch.scope(() => {
    const a = torch.tensor(Float32Array.of(3, 0), [2]);
    const b = torch.tensor(Float32Array.of(0, 4), [1, 2]);
    const [x, none, y] = clipped(torch, [a, null, b], 1).map(g => g && [...torch.values(g)]);
    expect(none).toBeNull();
    expect(x![0]).toBeCloseTo(3 / 5, 5);
    expect(y![1]).toBeCloseTo(4 / 5, 5);
    expect(clipped(torch, [a, null, b], 5)).toEqual([a, null, b]);
  });
});
