import { type OnnxModel, readModel, writeModel } from '../onnx/index.ts';
import { budgetOf } from '../prune/budget.ts';
import type { Coupling } from '../prune/groups.ts';
import { evaluateFile } from '../runtime/evaluate.ts';
import { createRunDirectory, openRunDirectory, type RunDirectory, writeJson } from '../train/run-directory.ts';
import { UserError } from '../util/errors.ts';
import { percent } from '../util/format.ts';
import { version } from '../util/version.ts';
import type { Context } from './command.ts';
import { openData } from './data-options.ts';
import { imageNetworkOf } from './model-file.ts';
import { finishedResult, readConfig, type RunConfig } from './run-config.ts';
import type { MethodOptions, TrainingOptions } from './run-options.ts';
import { checkResumed, hashOf, settle } from './run-settings.ts';
import { coupled, interfaceOf, isFile, modelName, namedModel } from './starting-model.ts';
import { batchesOf, type TrainingPlan } from './training-run.ts';

export type GivenOptions = TrainingOptions & MethodOptions & Parameters<typeof openData>[0];

/** A run that is about to begin or to go on. */
export interface StartedRun {
  readonly plan: TrainingPlan;
  readonly config: RunConfig;
  readonly directory: RunDirectory;
  readonly notes: readonly string[];
  /** `result.json` of a run that has ended already. */
  readonly finished: unknown;
}

interface Request {
  readonly verb: RunConfig['verb'];
  readonly method: TrainingPlan['method'];
  readonly model: string;
  readonly given: GivenOptions;
  readonly budget: TrainingPlan['budget'];
  /** Changes the network before the run: widths out of a plan. */
  readonly reshape?: (model: OnnxModel) => OnnxModel;
}

/**
 * Begin a run: open data and model, settle all settings, check the budget and the starting accuracy, make the folder.
 * Nothing is trained and nothing is written before all of that is right.
 */
export async function beginRun(request: Request, context: Context): Promise<StartedRun> {
  const { verb, method, given, budget, model: name } = request;
  const file = isFile(name) ? readModel(name) : null;
  const imitate = given.labels === 'none';
  if (imitate && !file) {
    throw new UserError('E_OPTION', '--labels none imitates a trained file, and the model is a named architecture.', { usage: true });
  }
  const opened = await openData(given, context, { ...(file ? imageNetworkOf(file) : {}), labels: !imitate });
  const { dataset, preprocessing } = opened;
  const channels = preprocessing.color === 'gray' ? 1 : 3;
  const built =
    file ?? namedModel(name, dataset, { size: preprocessing.size!, channels }, { seed: given.seed ?? 0, width: given.width, shortcut: given.shortcut });
  const start = request.reshape ? request.reshape(built) : built;
  const { graph, coupling } = coupled(start);
  interfaceOf(graph);
  const trainedStart = file !== null && !given.untrained && !request.reshape;
  const normalised = graph.nodes.some(node => node.opType.includes('Normalization'));
  const settings = settle(given, { trained: trainedStart, normalised, dataName: dataset.name, trainImages: dataset.train.size });
  if (budget) budgetOf(coupling, budget.resource, budget.value, settings.round);
  const plan: TrainingPlan = { start, trainedStart, dataset, preprocessing, settings, method, budget };

  const directory = createRunDirectory(given.out, `${modelName(name)}-${modelName(dataset.name)}`, spaceNeeded(coupling));
  try {
    writeModel(start, directory.file('start.onnx'));
    if (trainedStart && !imitate) await refuseChance(plan, directory, context);
    const config: RunConfig = {
      format: 's2h-run/1',
      verb,
      model: name,
      data: given.data,
      given: stripped(given),
      settings,
      budget,
      preprocessing,
      dataFingerprint: dataset.fingerprint,
      classes: dataset.classes,
      trainedStart,
      start: hashOf(directory.file('start.onnx')),
      versions: { s2hpruner: version, node: process.versions.node },
      command: commandLine(verb, name, given, budget),
    };
    writeJson(directory.file('config.json'), config);
    return { plan, config, directory, notes: [...opened.notes, ...droppedNote(plan)], finished: null };
  } catch (error) {
    directory.release();
    throw error;
  }
}

/** Go on with a run; what is given besides the folder is honoured or refused by name. */
export async function resumeRun(verb: RunConfig['verb'], given: Partial<GivenOptions> & { model?: string; resume: string }, context: Context): Promise<StartedRun> {
  const directory = openRunDirectory(given.resume);
  try {
    const config = readConfig(directory, verb);
    const own = { ...config.settings, ...config.given, model: config.model, data: config.data };
    const honoured = checkResumed({ ...given, setup: undefined }, own, directory.path);
    const finished = finishedResult(directory);
    const settings = { ...config.settings, threads: given.threads ?? config.settings.threads };
    const opened = await openData(config.given as GivenOptions, context, {
      ...imageNetworkOf(readModel(directory.file('start.onnx'))),
      labels: settings.labels !== 'none',
    });
    refuseOtherData(opened.dataset, config);
    if (hashOf(directory.file('start.onnx')) !== config.start) {
      throw new UserError('E_RUN_CHANGED', 'start.onnx is not the file that this run began with.', { where: directory.file('start.onnx') });
    }
    const plan: TrainingPlan = {
      start: readModel(directory.file('start.onnx')),
      trainedStart: config.trainedStart,
      dataset: opened.dataset,
      preprocessing: opened.preprocessing,
      settings,
      method: verb === 'train' ? 'plain' : settings.method,
      budget: config.budget,
    };
    return { plan, config, directory, notes: [...opened.notes, ...honoured, ...droppedNote(plan)], finished };
  } catch (error) {
    directory.release();
    throw error;
  }
}

/** @throws UserError E_DATA_CHANGED naming what differs */
function refuseOtherData(dataset: TrainingPlan['dataset'], config: RunConfig): void {
  if (dataset.fingerprint === config.dataFingerprint) return;
  const added = dataset.classes.filter(name => !config.classes.includes(name));
  const gone = config.classes.filter(name => !dataset.classes.includes(name));
  const difference = [
    added.length ? `new classes ${added.join(', ')}` : '',
    gone.length ? `missing classes ${gone.join(', ')}` : '',
  ].filter(Boolean);
  throw new UserError('E_DATA_CHANGED', `The data is not what this run began with: ${difference.join('; ') || 'images were added, removed or changed'}.`, {
    where: config.data,
    fix: 'Put the old data back, or start a new run.',
  });
}

/** Images that fill no batch are left out of an epoch; the user is told. */
function droppedNote({ dataset, settings }: TrainingPlan): string[] {
  const size = dataset.train.size;
  if (size < settings.batch) return [`The training set has ${size} images: every step takes all of them (--batch ${settings.batch} is more).`];
  const dropped = size % settings.batch;
  return dropped ? [`Each epoch leaves out ${dropped} of ${size} training images (others each time): they fill no batch of ${settings.batch}.`] : [];
}

/**
 * A trained file that answers like a coin is fed wrongly.
 * @throws UserError E_NEAR_CHANCE naming the suspects
 */
async function refuseChance(plan: TrainingPlan, directory: RunDirectory, context: Context): Promise<void> {
  const split = plan.dataset.validation.size ? 'validation' : 'test';
  const { top1, images, classes } = await evaluateFile(directory.file('start.onnx'), batchesOf(plan, split, context.signal), { signal: context.signal });
  const chance = 1 / classes;
  const limit = 1.5 * chance + 3 * Math.sqrt((chance * (1 - chance)) / images);
  context.onEvent({ type: 'evaluation', step: 0, split, dense: top1 });
  if (top1 >= Math.min(limit, 0.9)) return;
  const { scale, mean, std, color, layout, labelOrder } = plan.preprocessing;
  throw new UserError(
    'E_NEAR_CHANCE',
    `The file answers ${percent(top1)} of ${images} ${split} images right; chance is ${percent(chance)}. It was trained with another preprocessing, or on other classes: scale ${scale}, mean ${mean}, std ${std}, ${color}, ${layout}, ${labelOrder ? 'the label order given' : "the data set's label order"} were used.`,
    {
      where: directory.file('start.onnx'),
      fix: 'Say what it expects with --scale, --mean, --std, --color, --layout, --size or --label-order; or --untrained if its weights mean nothing, or --labels none to imitate its outputs.',
    },
  );
}

/** Two checkpoints, the files that are handed back, and room for one being written. */
function spaceNeeded({ graph }: Coupling): number {
  let size = 0;
  for (const tensor of graph.tensors.values()) size += 4 * tensor.dims.reduce((a, b) => a * b, 1);
  return 9 * size + 4_000_000;
}

const stripped = (options: object): Record<string, unknown> => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** The command line that would start this run. */
function commandLine(verb: string, model: string, given: GivenOptions, budget: TrainingPlan['budget']): string {
  const flag = (key: string) => `--${key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`;
  const quoted = (value: unknown) => (/^[\w./:=,@%+-]+$/.test(String(value)) ? String(value) : JSON.stringify(String(value)));
  const words = Object.entries(stripped(given)).flatMap(([key, value]) => {
    if (value === true) return [flag(key)];
    if (value === false) return [flag(key).replace('--', '--no-')];
    return [flag(key), quoted(value)];
  });
  const budgetFlag = budget && { macs: '--flops', params: '--params', size: '--bytes' }[budget.resource];
  return ['s2h', verb, quoted(model), ...words, ...(budget && !words.includes(budgetFlag!) ? [budgetFlag!, String(budget.value)] : [])].join(' ');
}
