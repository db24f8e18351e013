import { describe, expect, expectTypeOf, test } from 'vitest';
import type { FrontierResult, PruneOptions, PruneResult, Stopped } from '../src/index.ts';
import * as library from '../src/index.ts';

test('the commands are functions', () => {
  const { prune, train, evaluate, verify, bench, inspect, cut } = library;
  for (const command of [prune, train, evaluate, verify, bench, inspect, cut]) expect(command).toBeTypeOf('function');
});

describe('the type of what prune hands back', () => {
  // Never called: the type checker reads it.
  const calls = (prune: typeof library.prune, options: PruneOptions) => ({
    one: prune({ model: 'net.onnx', data: 'mnist', flops: 0.5 }),
    parameters: prune({ model: 'net.onnx', data: 'mnist', params: 0.5 }),
    several: prune({ model: 'net.onnx', data: 'mnist', flops: [0.5, 0.6] }),
    resumed: prune({ resume: 'runs/net-mnist-1' }),
    any: prune(options),
  });
  type Calls = { [K in keyof ReturnType<typeof calls>]: Awaited<ReturnType<typeof calls>[K]> };

  test('one budget: a run', () => {
    expectTypeOf<Calls['one']>().toEqualTypeOf<PruneResult | Stopped>();
    expectTypeOf<Calls['parameters']>().toEqualTypeOf<PruneResult | Stopped>();
  });

  test('several budgets, a folder, or options of any kind: also a frontier', () => {
    expectTypeOf<Calls['several']>().toEqualTypeOf<PruneResult | FrontierResult | Stopped>();
    expectTypeOf<Calls['resumed']>().toEqualTypeOf<PruneResult | FrontierResult | Stopped>();
    expectTypeOf<Calls['any']>().toEqualTypeOf<PruneResult | FrontierResult | Stopped>();
  });
});
