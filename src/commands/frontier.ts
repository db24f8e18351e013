import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { budgetFor } from '../prune/budget.ts';
import { loadDrawing } from '../report/chart.ts';
import { type FrontierReport, frontierChart, renderFrontier } from '../report/frontier-report.ts';
import { isAbort } from '../train/loop.ts';
import { makeRunFolder, removeTemporary, writeJson } from '../train/run-directory.ts';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
import { type BudgetOptions, budgetAsked } from './budget-options.ts';
import type { Context } from './command.ts';
import { optionalDataOptions, preprocessingOptions } from './data-options.ts';
import { pointsOf } from './frontier-points.ts';
import { pricedFor } from './image-shapes.ts';
import type { PruneResult } from './outcome.ts';
import { rooted } from './rooted.ts';
import { finishedResult } from './run-config.ts';
import type { Stopped } from './run-course.ts';
import { trainingOptions } from './run-options.ts';
import { checkResumed, honouredOf, settle } from './run-settings.ts';
import { commandLine, type GivenOptions, openStart } from './run-start.ts';
import { isFile, modelName } from './starting-model.ts';
import type { TrainResult } from './train.ts';

/** `result.json` of a frontier: one dense start, and one run per budget. */
export interface FrontierResult extends FrontierReport {
  readonly format: 's2h-frontier/1';
  /** 1: a budget failed. */
  readonly exitCode?: 1;
}

const requestSchema = z.object({
  format: z.literal('s2h-frontier/1'),
  model: z.string(),
  budgets: z.array(z.number()),
  options: z.record(z.string(), z.unknown()),
});
/** What a frontier is made of: `frontier.json`. Its paths are absolute, so that it goes on from any folder. */
export type FrontierRequest = Omit<z.infer<typeof requestSchema>, 'format'>;

/** A request that holds in any folder. */
const fromAnywhere = <T extends FrontierRequest>(request: T): T =>
  rooted({ ...request, options: rooted(request.options) });

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
    return fromAnywhere(requestSchema.parse(JSON.parse(readFileSync(path, 'utf8'))));
  } catch (cause) {
    throw new UserError('E_NO_RUN', 'The list of budgets of this folder is damaged.', { where: path, cause });
  }
}

/**
 * Everything that can be known to be wrong with one of the runs before the first of them.
 * @throws UserError E_OPTION, E_BUDGET, E_BUDGET_UNREACHABLE (usage), and those of model and data
 */
async function checkFrontier({ model, budgets, options }: FrontierRequest, context: Context): Promise<void> {
  const given = options as unknown as GivenOptions & BudgetOptions;
  const asked = budgets.map(flops => budgetAsked({ ...given, flops }));
  const twice = budgets.find((budget, i) => budgets.indexOf(budget) !== i);
  if (twice !== undefined) throw new UserError('E_BUDGET', `The budget ${twice} is given twice.`, { usage: true });
  const opened = await openStart({ verb: 'prune', model, given }, context);
  const { coupling, dataset, preprocessing, trainedStart, normalised } = opened;
  const { round } = settle(given, {
    verb: 'prune',
    // A named architecture is trained before it is pruned.
    trained: trainedStart || !isFile(model),
    normalised,
    dataName: dataset.name,
    trainImages: dataset.train.size,
  });
  const priced = pricedFor(coupling, preprocessing);
  for (const budget of asked) budgetFor(priced, budget, round);
}

/**
 * Make the folder of a new frontier, run it, and leave nothing behind when it fails before its first run has begun.
 * @throws UserError E_RUN_EXISTS, E_OUT; those of `checkFrontier`, before anything is made, and of the runs
 */
export async function beginFrontier(
  given: FrontierRequest,
  runs: Runs,
  context: Context,
): Promise<FrontierResult | Stopped> {
  const request = fromAnywhere(given);
  const { model, options } = request;
  await checkFrontier(request, context);
  const out = options.out as string | undefined;
  const isThere = out !== undefined && existsSync(out);
  const name = `${modelName(model)}-${modelName(String(options.data))}-frontier`;
  const directory = makeRunFolder(out, name);
  writeJson(join(directory, requestFile), { format: 's2h-frontier/1', ...request });
  try {
    return await runFrontier(directory, request, runs, context);
  } catch (error) {
    if (readdirSync(directory).join() === requestFile) {
      rmSync(join(directory, requestFile));
      if (!isThere) rmdirSync(directory);
    }
    throw error;
  }
}

/**
 * Go on with a frontier. What may differ in a run that goes on is passed on to all of its runs that have not ended.
 * @param given beside the folder
 * @throws UserError E_RESUME_SETTING (usage) for anything else that differs
 */
export function resumeFrontier(
  folder: string,
  request: FrontierRequest,
  given: Readonly<Record<string, unknown>>,
  runs: Runs,
  context: Context,
): Promise<FrontierResult | Stopped> {
  const directory = resolve(folder);
  const asked = rooted(given);
  const own = { ...request.options, model: request.model, flops: request.budgets };
  const finished = existsSync(join(directory, 'result.json'));
  for (const sentence of checkResumed(asked, own, { directory, finished, from: request.model })) context.say(sentence);
  return runFrontier(directory, request, runs, context, honouredOf(asked));
}

/**
 * One dense start (a named architecture is trained first, with the same settings), one pruning run per budget from it,
 * then a table and a chart of accuracy against MACs and latency. Runs that have ended are not made again; a budget that
 * fails does not keep the others from theirs.
 * @param honoured options that take the place of those that the frontier began with
 * @throws UserError that of the last budget when all have failed
 */
async function runFrontier(
  directory: string,
  { model, budgets, options }: FrontierRequest,
  runs: Runs,
  context: Context,
  honoured: Readonly<Record<string, unknown>> = {},
): Promise<FrontierResult | Stopped> {
  // Needed at the end, so looked for before hours of training.
  await loadDrawing();
  const place = (name: string) => join(directory, name);
  const holds = (name: string, file: string) => existsSync(join(place(name), file));
  const input = (name: string, fresh: Readonly<Record<string, unknown>>) => {
    if (!holds(name, 'config.json')) return { ...fresh, ...honoured, out: place(name) };
    const { threads, ...moved } = honoured;
    return { ...moved, ...(holds(name, 'result.json') ? {} : { threads }), resume: place(name) };
  };
  const announce = (name: string, sentence: string) => {
    if (!holds(name, 'result.json')) context.say(sentence);
  };
  const within = (run: string): Context => ({ ...context, onEvent: event => context.onEvent({ ...event, run }) });
  const stopped = (run: string, result: object): Stopped | null =>
    'stopped' in result ? { ...(result as Stopped), run, directory, resume: `s2h prune --resume ${directory}` } : null;
  let start = model;
  let seconds: number | null = null;
  const isNamed = !isAbsolute(model);
  if (isNamed) {
    const names = Object.keys({ ...trainingOptions, ...optionalDataOptions, ...preprocessingOptions });
    const own = Object.fromEntries(Object.entries(options).filter(([key]) => names.includes(key)));
    announce('dense', `The dense start: ${model} is trained without pruning.`);
    const dense = await runs.train(input('dense', { ...own, model }), within('dense'));
    if ('stopped' in dense) return stopped('dense', dense)!;
    start = join(place('dense'), 'trained.onnx');
    seconds = dense.seconds;
  }
  // They say how a named architecture is built, which the dense start has done.
  const ofNames = isNamed ? ['width', 'shortcut'] : [];
  const rest = Object.fromEntries(Object.entries(options).filter(([key]) => !ofNames.includes(key)));
  const results: PruneResult[] = [];
  const failed: { budget: number; error: UserError }[] = [];
  for (const budget of budgets) {
    const name = String(budget);
    announce(name, `Budget ${budget}.`);
    try {
      const result = await runs.prune(input(name, { ...rest, model: start, flops: budget }), within(name));
      if ('stopped' in result) return stopped(name, result)!;
      results.push(result);
    } catch (error) {
      if (isAbort(error, context.signal) || !(error instanceof UserError) || error.exitCode === 2) throw error;
      if (error.code === 'E_NEAR_CHANCE') throw isNamed ? learnedNothing(error) : error;
      context.say(
        `Budget ${budget} failed: ${error.message} It can be tried alone, with other settings, from ${start}.`,
      );
      failed.push({ budget, error });
    }
  }
  if (results.length === 0) throw failed.at(-1)!.error;
  const before = finishedResult({ file: place }) as FrontierResult | null;
  if (failed.length === 0 && before?.failed?.length === 0) return before;
  const report: FrontierResult = {
    format: 's2h-frontier/1',
    model,
    data: results[0].data,
    method: results[0].method,
    directory,
    measure: results[0].accuracy.measure,
    points: await pointsOf(results, { file: start, seconds }, context),
    failed: failed.map(({ budget, error }) => ({ budget, code: error.code, message: error.message })),
    command: commandLine('prune', model, { ...options, flops: budgets.join() } as never, null),
  };
  removeTemporary(directory);
  writeAtomic(place('frontier.md'), renderFrontier(report, 'markdown'));
  writeAtomic(place('frontier.svg'), await frontierChart(report));
  writeJson(place('result.json'), report);
  return failed.length > 0 ? { ...report, exitCode: 1 } : report;
}

/** The dense start came from here, so its preprocessing is no suspect. */
const learnedNothing = ({ code, what, where, cause }: UserError): UserError =>
  new UserError(code, `The dense start has learned too little. ${what}`, {
    where,
    fix: 'Begin another frontier, with more --epochs or another --lr.',
    cause,
  });
