// The page that scripts/coverage.ts writes.
import { count, milliseconds, percent, table } from '../src/util/format.ts';
import { median } from '../src/util/stats.ts';

/** What is known of one model; a step that was not reached left its figures out. */
export interface Coverage {
  readonly file: string;
  readonly seconds: number;
  readonly step?: string;
  readonly nodes?: number;
  readonly groups?: number;
  /** The reason of every group that stays. */
  readonly walls?: readonly string[];
  /** Seconds. */
  readonly coupling?: number;
  readonly classifier?: boolean;
  readonly budget?: { readonly resource: string; readonly value: number };
  readonly macs?: { readonly before: number; readonly after: number; readonly unknown: number };
  readonly params?: { readonly before: number; readonly after: number };
  /** Largest error as a share of the output's scale; null: nothing ran. */
  readonly error?: number | null;
  readonly limit?: number;
  readonly agreement?: number | null;
  readonly notes?: readonly string[];
  /** Milliseconds. */
  readonly latency?: {
    readonly before: number;
    readonly after: number;
    readonly speedup: number;
    readonly rounded: { readonly after: number; readonly speedup: number } | null;
  };
  /** Why nothing was cut. */
  readonly unchanged?: string;
  readonly failure?: string;
}

/** A speed-up below it is none. */
const faster = 1.05;

export function renderCoverage(
  rows: readonly Coverage[],
  { cpu, runtime, seconds, remarks }: { cpu: string; runtime: string; seconds: number; remarks: readonly string[] },
): string {
  const failed = rows.filter(row => row.failure !== undefined);
  const unchanged = rows.filter(row => row.failure === undefined && row.unchanged !== undefined);
  const certified = rows.length - failed.length - unchanged.length;
  const classifiers = rows.filter(row => row.classifier);
  const halved = classifiers.filter(row => row.failure === undefined && keptMacs(row) <= 0.5 + 1e-9);
  return `${[
    '# Coverage',
    'Every model: inspected, cut to half of its MACs by L1 without training (`s2h cut --flops 0.5`), compared with the masked original in ONNX Runtime, and timed. Where half cannot be reached, the least that can; where MACs are not known, half of the parameters. Written by `npx tsx scripts/coverage.ts DIR...`.',
    `${rows.length} models: ${certified} certified, ${unchanged.length} unchanged with their walls named, ${failed.length} failed. Of ${classifiers.length} image classifiers ${halved.length} (${percent(classifiers.length > 0 ? halved.length / classifiers.length : 0)}) lost at least half of their MACs.`,
    `Latency of one image on one thread of ${cpu}, ONNX Runtime ${runtime}, the files in turns for ${seconds} s each; \`--round 8\`: times faster at the same budget with such widths. Error: the largest difference as a share of the output's scale.`,
    ...remarks,
    speedText(rows),
    table([head, ...rows.map(cells)], { style: 'markdown', align: head.map(alignOf) }),
    '## Walls',
    'Groups of channels that stay, by reason.',
    table([['model', 'walls'], ...rows.map(row => [row.file, wallText(row)])], {
      style: 'markdown',
      align: ['left', 'left'],
    }),
    ...(failed.length > 0 ? ['## Failures', failed.map(row => `- \`${row.file}\`: ${row.failure}`).join('\n')] : []),
  ].join('\n\n')}\n`;
}

const head = [
  'model',
  'nodes',
  'groups',
  'walls',
  'MACs',
  'after',
  'kept',
  'parameters',
  'after',
  'latency',
  'after',
  'times faster',
  '`--round 8`',
  'error',
  'remark',
];

const alignOf = (title: string) => (title === 'model' || title === 'remark' ? 'left' : 'right');

/** How much faster half of the MACs is, and whether rounding the widths helps. */
function speedText(rows: readonly Coverage[]): string {
  const both = rows.flatMap(({ latency }) =>
    latency?.rounded ? [{ plain: latency.speedup, ...latency.rounded }] : [],
  );
  const plain = rows.flatMap(({ latency }) => (latency ? [latency.speedup] : []));
  const times = (values: readonly number[]) => median(values).toFixed(2);
  const better = both.filter(({ plain, speedup }) => speedup > plain).length;
  return [
    `Median speed-up ${times(plain)} (${plain.length} models).`,
    `With \`--round 8\`, which brings widths to multiples of 8, ${times(both.map(({ speedup }) => speedup))} instead of ${times(both.map(({ plain }) => plain))} on the ${both.length} models where that meets the budget; faster than unrounded on ${better} of them.`,
  ].join(' ');
}

const keptMacs = ({ macs }: Coverage): number => (macs && macs.before > 0 ? macs.after / macs.before : 1);

function cells(row: Coverage): string[] {
  const { file, nodes, groups, walls, macs, params, latency, error } = row;
  const number = (value: number | undefined, format: (n: number) => string) =>
    value === undefined ? '-' : format(value);
  return [
    file.replace(/\.onnx$/, ''),
    number(nodes, String),
    number(groups, String),
    walls ? String(walls.length) : '-',
    `${macs && macs.unknown > 0 ? '≥ ' : ''}${number(macs?.before, count)}`,
    number(macs?.after, count),
    macs ? percent(keptMacs(row)) : '-',
    number(params?.before, count),
    number(params?.after, count),
    number(latency?.before, milliseconds),
    number(latency?.after, milliseconds),
    number(latency?.speedup, n => n.toFixed(2)),
    number(latency?.rounded?.speedup, n => n.toFixed(2)),
    error === undefined || error === null ? '-' : error === 0 ? '0' : error.toExponential(1),
    remark(row),
  ];
}

function remark(row: Coverage): string {
  if (row.failure !== undefined) return 'failed';
  if (row.unchanged !== undefined) return `unchanged: ${row.unchanged}`;
  const { latency, budget } = row;
  const short = budget && budget.value > 0.5 ? `least that can be kept is ${percent(budget.value)}` : '';
  const slow =
    latency && keptMacs(row) < 0.9 && latency.speedup < faster
      ? latency.rounded && latency.rounded.speedup >= faster
        ? 'fewer MACs, faster only when rounded'
        : 'fewer MACs, but not faster'
      : '';
  const rounding = (row.error ?? 0) > (row.limit ?? Infinity) ? 'the full file alone is as far off by rounding' : '';
  return [short, slow, rounding].filter(Boolean).join('; ');
}

/** `3 x graph output, 1 x Softmax normalises over it`: names left out. */
function wallText({ walls = [] }: Coverage): string {
  const counts = new Map<string, number>();
  for (const reason of walls) {
    const kind = reason
      .replace(/ ?\(?'[^']*'\)?/g, '')
      .replace(/, which a caller/, ' which a caller')
      .trim();
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const parts = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, n]) => `${n} x ${kind}`);
  return parts.join('; ') || 'none';
}
