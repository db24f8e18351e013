import { describe, expect, test } from 'vitest';
import { accuracyOf } from '../../src/commands/outcome.ts';
import { harmRemark, shortfallRemark, unsteadyRemark } from '../../src/commands/remarks.ts';

describe('a budget that is not used up', () => {
  const budget = { resource: 'macs', value: 0.5, fraction: 0.5 } as const;
  const kept = (ratio: number) => ({ before: 1000, after: 1000 * ratio, ratio });

  test.each([
    ['within a point: nothing', 0.492, 'ceil', 1, /^$/],
    ['by the paper’s threshold', 0.26, 'mean', 1, /26\.0.% of the MACs .* 50\.0.%: .*--count ceil/],
    ['by coarse widths', 0.4, 'ceil', 8, /40\.0.% of the MACs .*coarse \(--round 8\)\.$/],
  ] as const)('%s', (_, ratio, count, round, words) => {
    expect(shortfallRemark(budget, kept(ratio), { count, round, searchUntil: 1 }).join()).toMatch(words);
  });
});

describe('a training that does harm', () => {
  const measured = (cut: number, end: number) => ({
    measure: 'labels' as const,
    dense: null,
    cut: accuracyOf(cut, 200),
    hard: accuracyOf(end, 200),
    onnx: accuracyOf(end, 200),
  });

  test('is told, with what to try', () => {
    const [remark] = harmRemark(measured(100, 62), { lr: 0.05, renormalised: true });
    expect(remark).toMatch(/31\.0.% at the end, 50\.0.% when it was cut.*--lr \(it was 0\.05\).*--keep-folded/);
    expect(harmRemark(measured(100, 62), { lr: 0.05, renormalised: false })[0]).not.toContain('--keep-folded');
  });

  test('is not guessed from a difference that chance makes, nor where nothing was cut before', () => {
    expect(harmRemark(measured(100, 90), { lr: 0.05, renormalised: true })).toEqual([]);
    const { cut, ...without } = measured(100, 10);
    expect(cut).toBeDefined();
    expect(harmRemark(without, { lr: 0.05, renormalised: true })).toEqual([]);
  });
});

test('latencies that vary more than twofold are said to be unsteady, once per setting', () => {
  const row = (path: string, threads: number, p10Ms: number, p90Ms: number) => ({
    path,
    batch: 1,
    threads,
    p10Ms,
    p90Ms,
  });
  const steady = [row('a', 1, 1, 1.9), row('b', 1, 1, 1.1)];
  expect(unsteadyRemark([...steady, { path: 'c', batch: 32, threads: 1, notRun: 'fixed' }])).toEqual([]);
  const [remark] = unsteadyRemark([...steady, row('a', 2, 1, 9), row('b', 2, 1, 3)]);
  expect(remark).toMatch(/2-fold.*\(batch 1 with 2 threads\)/);
});
