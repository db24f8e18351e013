import { join } from 'node:path';
import { buildGraph } from '../graph/graph.ts';
import { readModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import type { FrontierPoint } from '../report/frontier-report.ts';
import { measureLatency } from '../runtime/latency.ts';
import type { Context } from './command.ts';
import { latencyNotMeasured } from './finish.ts';
import { imageShapes } from './image-shapes.ts';
import type { PruneResult } from './outcome.ts';
import { readConfig } from './run-config.ts';

/**
 * The points of a frontier: the start, and what every run handed back.
 * @param start the file that the runs began with, and how long it was trained here (null: it was not)
 */
export async function pointsOf(
  results: readonly PruneResult[],
  start: { readonly file: string; readonly seconds: number | null },
  context: Context,
): Promise<FrontierPoint[]> {
  const latencies = await latenciesOf(results, context);
  return [startOf(results[0], start), ...results.map(pointOf)].map((point, i) => ({ ...point, ...latencies[i] }));
}

/**
 * Of the start and of every pruned file, all side by side: those that the runs measured, hours apart, compare with
 * nothing but their own start.
 */
async function latenciesOf(
  results: readonly PruneResult[],
  { signal, say }: Context,
): Promise<readonly Pick<FrontierPoint, 'latencyMs' | 'speedup'>[]> {
  const path = results[0].directory;
  const { preprocessing } = readConfig({ path, file: name => join(path, name) }, 'prune');
  const graph = buildGraph(readModel(join(path, 'pruned.onnx')), operators);
  const files = [join(path, 'start.onnx'), ...results.map(({ directory }) => join(directory, 'pruned.onnx'))];
  const latency = await measureLatency(files, {
    batches: [1],
    threads: [1],
    seconds: 1,
    shapes: imageShapes(graph, preprocessing),
    signal,
  }).catch(latencyNotMeasured);
  if ('notes' in latency) for (const note of latency.notes) say(note);
  return files.map((_, i) => {
    const row = latency.rows.at(i);
    return { latencyMs: row?.medianMs ?? null, speedup: row?.speedup ?? null };
  });
}

/** A point, but for its latency. */
type Measured = Omit<FrontierPoint, 'latencyMs' | 'speedup'>;

function startOf(result: PruneResult, start: { readonly file: string; readonly seconds: number | null }): Measured {
  const { accuracy, macs, params } = result;
  // With --labels none the original is what agreement is measured with.
  const dense = accuracy.dense ?? { accuracy: 1, interval: [1, 1] as const };
  return {
    ...start,
    name: 'start',
    ratio: 1,
    macs: macs.before,
    params: params.before,
    accuracy: dense.accuracy,
    interval: dense.interval,
  };
}

function pointOf(result: PruneResult): Measured {
  const { accuracy, macs, params, seconds, directory, budget } = result;
  return {
    name: String(budget.value),
    file: join(directory, 'pruned.onnx'),
    ratio: macs.ratio,
    macs: macs.after,
    params: params.after,
    accuracy: accuracy.onnx.accuracy,
    interval: accuracy.onnx.interval,
    seconds,
  };
}
