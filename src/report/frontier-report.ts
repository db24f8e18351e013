import { count, duration, milliseconds, percent, table, within } from '../util/format.ts';
import { type ChartPanel, type ChartPoint, chart } from './chart.ts';

/** One network of a frontier. */
export interface FrontierPoint {
  readonly name: string;
  readonly file: string;
  /** MACs kept, as a share of the start's. */
  readonly ratio: number;
  readonly macs: number;
  readonly params: number;
  readonly accuracy: number;
  /** Of the accuracy, at 95 %. */
  readonly interval: readonly [number, number];
  /** ONNX Runtime, a batch of one, one thread, all points side by side; null: not measured. */
  readonly latencyMs: number | null;
  /** Times faster than the start. */
  readonly speedup: number | null;
  readonly seconds: number | null;
}

/** What the table and the chart of a frontier are made of. */
export interface FrontierReport {
  readonly model: string;
  readonly data: string;
  readonly method: string;
  readonly directory: string;
  readonly measure: string;
  readonly points: readonly FrontierPoint[];
  /** Budgets whose runs ended in an error. */
  readonly failed: readonly { readonly budget: number; readonly code: string; readonly message: string }[];
  readonly command: string;
}

/** The table for people; as Markdown with the chart and the command. */
export function renderFrontier(report: FrontierReport, style: 'text' | 'markdown'): string {
  const rows = table(
    [
      ['network', 'MACs', 'kept', 'params', 'top-1 (95 % interval)', 'latency', 'faster', 'training', 'file'],
      ...report.points.map(point => [
        point.name,
        count(point.macs),
        percent(point.ratio),
        count(point.params),
        within(point.accuracy, point.interval),
        point.latencyMs === null ? '-' : milliseconds(point.latencyMs),
        point.speedup === null ? '-' : point.speedup.toFixed(2),
        point.seconds === null ? '-' : duration(point.seconds),
        point.file,
      ]),
    ],
    { align: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'], style },
  );
  const failed = report.failed.map(({ budget, code, message }) => `- Budget ${budget} failed: ${code}: ${message}`);
  if (style === 'text') return [rows, ...failed, `${report.directory}/frontier.svg`].join('\n\n');
  return [
    `# ${report.model} on ${report.data}, pruned by ${report.method}`,
    rows,
    ...failed,
    `Top-1: ${report.measure === 'labels' ? 'right answers' : report.measure} on the test images, by ONNX Runtime. Latency: ONNX Runtime, a batch of one, one thread, all files side by side; faster: times. Every file passed its certificate (the report of its run has it).`,
    '![accuracy against MACs and latency](frontier.svg)',
    `\`${report.command}\`\n`,
  ].join('\n\n');
}

/** Accuracy against MACs and against latency. @throws UserError E_PLOT */
export function frontierChart({ points }: FrontierReport): Promise<string> {
  const panel = (title: string, x: (point: FrontierPoint) => number | null): ChartPanel => ({
    title,
    points: points.flatMap((point): ChartPoint[] => {
      const at = x(point);
      if (at === null) return [];
      const series = point.name === 'start' ? 'start' : 'pruned';
      const [low, high] = point.interval.map(share => 100 * share);
      return [{ x: at, y: 100 * point.accuracy, low, high, label: point.name, series }];
    }),
  });
  return chart(
    [
      panel('MACs (millions)', point => point.macs / 1e6),
      panel('latency (ms, batch 1, 1 thread)', point => point.latencyMs),
    ],
    'top-1 (%)',
    100,
  );
}
