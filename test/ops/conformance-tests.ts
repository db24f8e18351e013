import { beforeAll, describe, expect, test } from 'vitest';
import { operators } from '../../src/ops/index.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import type { Case } from './cases.ts';
import { type Check, checkCase } from './conformance.ts';

const checks: readonly Check[] = ['shape', 'value', 'forward'];

/**
 * All checks of all cases, each a test that passes or says why it is skipped.
 * @param expected by check, how many cases pass, and how many are not compared for which reason
 */
export function passesConformance(
  cases: readonly Case[],
  expected: Readonly<Record<Check, Readonly<Record<string, number>>>>,
): void {
  let torch: Torch;
  beforeAll(async () => {
    torch = await openEngine({ threads: 1 });
  });

  /** What came of all checks: `passed`, or why a case is not compared, by how often. */
  const counts: Record<Check, Record<string, number>> = { shape: {}, value: {}, forward: {} };

  describe.each(cases.map(one => [one.name, one] as const))('%s', (_, one) => {
    test.for(checks)('%s', (check, { skip }) => {
      const outcome = checkCase(check, one, torch);
      const key = outcome === 'passed' ? outcome : 'left' in outcome ? outcome.left : 'failed';
      counts[check][key] = (counts[check][key] ?? 0) + 1;
      if (outcome === 'passed') return;
      if ('failed' in outcome) expect.fail(outcome.failed);
      skip(outcome.left);
    });
  });

  test('so many cases are compared and left out', () => {
    expect(counts).toEqual(expected);
  });

  test('every operator of the cases is known', () => {
    const types = new Set(cases.flatMap(({ model }) => model.graph.nodes.map(node => node.opType)));
    for (const type of types) expect(operators.has(`::${type}`), type).toBe(true);
  });
}
