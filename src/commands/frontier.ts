import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { loadDrawing } from '../report/chart.ts';
import { type FrontierPoint, type FrontierReport, frontierChart, renderFrontier } from '../report/frontier-report.ts';
import { makeRunFolder, writeJson } from '../train/run-directory.ts';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
import type { Context } from './command.ts';
import { optionalDataOptions, preprocessingOptions } from './data-options.ts';
import type { PruneResult } from './outcome.ts';
import type { Stopped } from './run-course.ts';
import { trainingOptions } from './run-options.ts';
import { commandLine } from './run-start.ts';
import { isFile, modelName } from './starting-model.ts';
import type { TrainResult } from './train.ts';

/** `result.json` of a frontier: one dense start, and one run per budget. */
export interface FrontierResult extends FrontierReport {
  readonly format: 's2h-frontier/1';
}

const requestSchema = z.object({
  format: z.literal('s2h-frontier/1'),
  model: z.string(),
  budgets: z.array(z.number()),
  options: z.record(z.string(), z.unknown()),
});
/** What a frontier is made of: `frontier.json`. */
export type FrontierRequest = Omit<z.infer<typeof requestSchema>, 'format'>;

/** The runs that a frontier is put together from. */
export interface Runs {
  prune(input: Readonly<Record<string, unknown>>, context: Context): Promise<PruneResult | Stopped>;
  train(input: Readonly<Record<string, unknown>>, context: Context): Promise<TrainResult | Stopped>;
}

const requestFile = 'frontier.json';

/** The frontier that a folder holds; null for another folder. @throws UserError E_NO_RUN when it is damaged */
export function frontierIn(directory: string): FrontierRequest | null {
  const path = join(resolve(directory), requestFile);
  if (!existsSync(path)) return null;
  try {
    return requestSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new UserError('E_NO_RUN', 'The list of budgets of this folder is damaged.', { where: path, cause });
  }
}

/** Make the folder of a new frontier. @throws UserError E_RUN_EXISTS, E_OUT */
export function beginFrontier(request: FrontierRequest): string {
  const { model, options } = request;
  const directory = makeRunFolder(
    options.out as string | undefined,
    `${modelName(model)}-${modelName(String(options.data))}-frontier`,
  );
  writeJson(join(directory, requestFile), { format: 's2h-frontier/1', ...request });
  return directory;
}

/**
 * One dense start (a named architecture is trained first, with the same settings), one pruning run per budget from it,
 * then a table and a chart of accuracy against MACs and latency. Runs that have ended are not made again.
 */
export async function runFrontier(
  directory: string,
  { model, budgets, options }: FrontierRequest,
  runs: Runs,
  context: Context,
): Promise<FrontierResult | Stopped> {
  // Needed at the end, so looked for before hours of training.
  await loadDrawing();
  const place = (name: string) => join(directory, name);
  const input = (name: string, fresh: Readonly<Record<string, unknown>>) =>
    existsSync(join(place(name), 'config.json')) ? { resume: place(name) } : { ...fresh, out: place(name) };
  const stopped = (result: object): Stopped | null =>
    'stopped' in result ? { ...(result as Stopped), directory, resume: `s2h prune --resume ${directory}` } : null;
  let start = model;
  let seconds: number | null = null;
  if (!isFile(model)) {
    const names = Object.keys({ ...trainingOptions, ...optionalDataOptions, ...preprocessingOptions });
    const own = Object.fromEntries(Object.entries(options).filter(([key]) => names.includes(key)));
    context.say(`The dense start: ${model} is trained without pruning.`);
    const dense = await runs.train(input('dense', { ...own, model }), context);
    if ('stopped' in dense) return stopped(dense)!;
    start = join(place('dense'), 'trained.onnx');
    seconds = dense.seconds;
  }
  // They say how a named architecture is built, which the dense start has done.
  const ofNames = isFile(model) ? [] : ['width', 'shortcut'];
  const rest = Object.fromEntries(Object.entries(options).filter(([key]) => !ofNames.includes(key)));
  const results: PruneResult[] = [];
  for (const budget of budgets) {
    context.say(`Budget ${budget}.`);
    const result = await runs.prune(input(String(budget), { ...rest, model: start, flops: budget }), context);
    if ('stopped' in result) return stopped(result)!;
    results.push(result);
  }
  const report: FrontierResult = {
    format: 's2h-frontier/1',
    model,
    data: results[0].data,
    method: results[0].method,
    directory,
    measure: results[0].accuracy.measure,
    points: [startOf(results[0], start, seconds), ...results.map(pointOf)],
    command: commandLine('prune', model, { ...options, flops: budgets.join() } as never, null),
  };
  writeAtomic(place('frontier.md'), renderFrontier(report, 'markdown'));
  writeAtomic(place('frontier.svg'), await frontierChart(report));
  writeJson(place('result.json'), report);
  return report;
}

const single = (result: PruneResult) => result.latency.find(({ batch, threads }) => batch === 1 && threads === 1);

function startOf(result: PruneResult, file: string, seconds: number | null): FrontierPoint {
  const { accuracy, macs, params } = result;
  // With --labels none the original is what agreement is measured with.
  const dense = accuracy.dense ?? { accuracy: 1, interval: [1, 1] as const };
  return {
    name: 'start',
    file,
    ratio: 1,
    macs: macs.before,
    params: params.before,
    accuracy: dense.accuracy,
    interval: dense.interval,
    latencyMs: single(result)?.before ?? null,
    seconds,
  };
}

function pointOf(result: PruneResult): FrontierPoint {
  const { accuracy, macs, params, seconds, directory, budget } = result;
  return {
    name: String(budget.value),
    file: join(directory, 'pruned.onnx'),
    ratio: macs.ratio,
    macs: macs.after,
    params: params.after,
    accuracy: accuracy.onnx.accuracy,
    interval: accuracy.onnx.interval,
    latencyMs: single(result)?.after ?? null,
    seconds,
  };
}
