import { expect, test } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import type { CouplingOptions } from '../../src/prune/groups.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { stream } from '../../src/util/random.ts';
import { couplingOf, randomPlan, sizes } from './nets.ts';
import { expectSame, run } from './zoo.ts';

/** Cut files and full ones without the removed channels agree; for graphs that cannot be trained, where masks have no
 * place (integer codes, recurrences). */
export function cutsAgree(
  name: string,
  build: () => OnnxModel,
  groups: Readonly<Record<string, number>>,
  { exact = true, ...options }: CouplingOptions & { exact?: boolean } = {},
): void {
  test(name, async () => {
    const coupling = couplingOf(build(), options);
    expect(sizes(coupling)).toEqual(groups);
    const original = await run(coupling.graph.model, 0, exact);
    let mattered = coupling.groups.length === 0;
    for (let seed = 0; seed < 3; seed++) {
      const kept = randomPlan(coupling, stream(seed, 'quantised'));
      const zeroed = await run(zeroConsumers(coupling, kept), seed, exact);
      expectSame('cut', await run(cutModel(coupling, kept), seed, exact), zeroed, exact);
      mattered ||= JSON.stringify(zeroed) !== JSON.stringify(original);
    }
    expect(mattered, 'removed channels that matter').toBe(true);
  });
}
