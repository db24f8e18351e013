import { beforeAll, expect, test } from 'vitest';
import { chooseDevice, chooseThreads } from '../../src/torch/device.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { matmulRate } from '../../src/torch/probe.ts';
import { allowedThreads } from '../../src/util/threads.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine();
});

const machine = (gpus: number) => ({ gpus: () => gpus, version: () => '2.13.0' });

test('auto takes a GPU where there is one; cuda without one is refused', () => {
  expect(chooseDevice('auto', machine(0))).toBe('cpu');
  expect(chooseDevice('auto', machine(2))).toBe('cuda');
  expect(chooseDevice('cpu', machine(2))).toBe('cpu');
  expect(chooseDevice('cuda', machine(1))).toBe('cuda');
  expect(() => chooseDevice('cuda', machine(0))).toThrow(expect.objectContaining({ code: 'E_NO_CUDA', exitCode: 2 }));
});

test('threads are those that are allowed, or those that are asked for', () => {
  expect(chooseThreads()).toEqual(allowedThreads());
  expect(chooseThreads(3)).toEqual({ threads: 3, why: 'asked for' });
  for (const wrong of [0, -1, 1.5, Number.NaN, 5000]) {
    expect(() => chooseThreads(wrong)).toThrow(expect.objectContaining({ code: 'E_THREADS' }));
  }
});

test('the probe measures something and leaves no tensor', () => {
  const before = torch.liveTensors();
  expect(matmulRate(torch, 64)).toBeGreaterThan(0);
  expect(torch.liveTensors()).toBe(before);
});

test('OpenMP waits passively, so that a busy machine is not slowed down many times over', () => {
  expect(process.env.OMP_WAIT_POLICY).toBeDefined();
});
