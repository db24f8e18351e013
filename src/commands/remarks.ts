import type { LatencyRow } from '../runtime/latency.ts';
import { amount, percent } from '../util/format.ts';
import type { CostChange, PruneResult } from './outcome.ts';
import type { RunSettings } from './run-settings.ts';

const budgetNames = { macs: 'MACs', params: 'parameters', size: 'size' } as const;

/** How much of the full cost may be left unused before the user is told. */
const unused = 0.01;

/** A sentence where clearly less was kept than the budget allows. */
export function shortfallRemark(
  { resource, fraction }: PruneResult['budget'],
  { ratio }: CostChange,
  { count, round, searchUntil }: Pick<RunSettings, 'count' | 'round' | 'searchUntil'>,
): string[] {
  if (ratio >= fraction - unused) return [];
  const why =
    count === 'mean' && searchUntil === 1
      ? 'the masks that were trained last keep no more (--count ceil keeps what their expectation says)'
      : `the steps of the widths are coarse${round > 1 ? ` (--round ${round})` : ''}`;
  return [
    `${percent(ratio)} of the ${budgetNames[resource]} are kept where the budget allows ${percent(fraction)}: ${why}.`,
  ];
}

/** A sentence where the network ends below what it answered when it was cut. */
export function harmRemark(
  { cut, onnx }: PruneResult['accuracy'],
  { lr, renormalised }: { readonly lr: number; readonly renormalised: boolean },
): string[] {
  if (!cut || onnx.interval[1] >= cut.interval[0]) return [];
  const other = renormalised ? ', or --keep-folded if it was trained without normalisation' : '';
  return [
    `Training did harm: ${percent(onnx.accuracy)} at the end, ${percent(cut.accuracy)} when it was cut. Try a lower --lr (it was ${lr})${other}.`,
  ];
}

/** Times whose 10 % and 90 % quantiles are further apart than by this factor say little. */
const steady = 2;

/** A sentence where the machine was busy with other things while latency was measured. */
export function unsteadyRemark(rows: readonly LatencyRow[]): string[] {
  const unsteady = rows.filter(({ p10Ms, p90Ms }) => p10Ms !== undefined && p90Ms! > steady * p10Ms);
  const settings = new Set(unsteady.map(({ batch, threads }) => `batch ${batch} with ${amount(threads, 'thread')}`));
  return settings.size > 0
    ? [
        `Latencies varied more than ${steady}-fold from run to run (${[...settings].join(', ')}): the machine was busy. How many times faster a file is, is the median over runs taken in turn, and need not be the quotient of the times beside it. Measure again with s2h bench when the machine is free.`,
      ]
    : [];
}
