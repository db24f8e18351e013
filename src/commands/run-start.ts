import { buildGraph } from '../graph/graph.ts';
import { type OnnxModel, readModel, writeModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { budgetFor } from '../prune/budget.ts';
import type { Coupling } from '../prune/groups.ts';
import { inEvaluationMode } from '../rewrite/evaluation-mode.ts';
import { isNormalised, normalisable } from '../rewrite/renorm.ts';
import { withComputedConstants } from '../runtime/computed-constants.ts';
import { evaluateFile } from '../runtime/evaluate.ts';
import { runtimeVersion } from '../runtime/session.ts';
import { movesOf } from '../train/method.ts';
import { createRunDirectory, type RunDirectory, writeJson } from '../train/run-directory.ts';
import { UserError } from '../util/errors.ts';
import { percent } from '../util/format.ts';
import { version } from '../util/version.ts';
import { describeNetwork } from '../zoo/index.ts';
import { type Context, flagOf } from './command.ts';
import { type OpenedData, openData } from './data-options.ts';
import { pricedFor } from './image-shapes.ts';
import { computedNote, imageNetworkOf } from './model-file.ts';
import { rooted } from './rooted.ts';
import type { RunConfig } from './run-config.ts';
import type { MethodOptions, TrainingOptions } from './run-options.ts';
import { checkGiven, hashOfModel, searches, settle } from './run-settings.ts';
import { crowdedNote, threadsToBegin } from './run-threads.ts';
import { coupled, interfaceOf, isFile, modelName, namedModel, refuseForNamed } from './starting-model.ts';
import { batchesOf, type TrainingPlan } from './training-run.ts';

export type GivenOptions = TrainingOptions & MethodOptions & Parameters<typeof openData>[0];

/** A run that is about to begin or to go on. */
export interface StartedRun {
  readonly plan: TrainingPlan;
  readonly config: RunConfig;
  readonly directory: RunDirectory;
  readonly notes: readonly string[];
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

/** What a run is to start from. */
export interface Start extends OpenedData {
  readonly start: OnnxModel;
  readonly coupling: Coupling;
  /** Its weights mean something: it is a file, as it is, and not said to be untrained. */
  readonly trainedStart: boolean;
  /** It has normalisations, or gets BatchNormalization while it is trained. */
  readonly normalised: boolean;
  /** Nodes of a file that was exported in training mode. */
  readonly changed: readonly string[];
  /** Weights that a file computed from constants. */
  readonly computed: readonly string[];
}

/** Check what is given, and open data and model. Nothing is written. */
export async function openStart(request: Omit<Request, 'method' | 'budget'>, context: Context): Promise<Start> {
  const { verb, given, model: name } = request;
  checkGiven(given);
  // Needed at the end, so looked for before hours of training.
  await runtimeVersion();
  const read = isFile(name) ? inEvaluationMode(readModel(name), operators) : null;
  const computed = read && (await withComputedConstants(buildGraph(read.model, operators)));
  const file = computed ? computed.graph.model : null;
  if (file) interfaceOf(buildGraph(file, operators));
  if (!file) describeNetwork(name); // an unknown name is refused before any data is fetched
  if (!file) refuseForNamed(given);
  const asked = (['width', 'shortcut'] as const).find(key => file && given[key] !== undefined);
  if (asked)
    throw new UserError('E_OPTION', `--${asked} is for named architectures, and the model is a file.`, { usage: true });
  const imitate = given.labels === 'none';
  if (imitate && (verb === 'train' || !file || given.untrained)) {
    const why =
      verb === 'train'
        ? 'and belongs to prune'
        : `and the model is ${file ? 'said to be untrained' : 'a named architecture'}`;
    throw new UserError('E_OPTION', `--labels none imitates a trained file, ${why}.`, { usage: true });
  }
  const opened = await openData(given, context, { ...(file ? imageNetworkOf(file) : {}), labels: !imitate });
  const { dataset, preprocessing } = opened;
  const channels = preprocessing.color === 'gray' ? 1 : 3;
  const built =
    file ??
    namedModel(
      name,
      dataset,
      { size: preprocessing.size!, channels },
      { seed: given.seed ?? 0, width: given.width, shortcut: given.shortcut },
    );
  const start = request.reshape ? request.reshape(built) : built;
  const { graph, coupling } = coupled(start, given);
  const folded = normalisable(graph);
  if (given.keepFolded && folded.length === 0) {
    const beside = 'it belongs to a file with convolutions and without any normalisation';
    throw new UserError('E_OPTION', `--keep-folded does nothing here: ${beside}.`, {
      fix: 'Leave it out.',
      usage: true,
    });
  }
  refuseOtherRows(interfaceOf(graph).inputShape, preprocessing, channels);
  const trainedStart = file !== null && !given.untrained && !request.reshape;
  const normalised = isNormalised(graph) || (trainedStart && !given.keepFolded && folded.length > 0);
  return {
    ...opened,
    start,
    coupling,
    trainedStart,
    normalised,
    changed: read?.changed ?? [],
    computed: computed?.values ?? [],
  };
}

/**
 * Begin a run: open data and model, settle all settings, check the budget and the starting accuracy, make the folder.
 * Nothing is trained and nothing is written before all of that is right.
 */
export async function beginRun(request: Request, context: Context): Promise<StartedRun> {
  const { verb, method, budget } = request;
  const { model: name, ...given } = rooted({ ...request.given, model: request.model });
  const opened = await openStart({ ...request, given, model: name }, context);
  const { dataset, preprocessing, start, coupling, trainedStart, normalised } = opened;
  const settings = settle(given, {
    verb,
    trained: trainedStart,
    normalised,
    dataName: dataset.name,
    trainImages: dataset.train.size,
  });
  if (budget) budgetFor(pricedFor(coupling, preprocessing), budget, settings.round);
  const threads = threadsToBegin(given.threads);
  const settled = { trainedStart, dataset, preprocessing, settings, threads, method, budget };
  const directory = createRunDirectory(
    given.out,
    `${modelName(name)}-${modelName(dataset.name)}`,
    spaceNeeded(coupling, settings),
  );
  try {
    writeModel(start, directory.file('start.onnx'));
    // As a resumed run reads it: a file holds attributes in single precision.
    const plan: TrainingPlan = { ...settled, start: readModel(directory.file('start.onnx')) };
    if (trainedStart && given.labels !== 'none') await refuseChance(plan, directory, name, context);
    const notes = [
      ...opened.notes,
      ...crowdedNote(given.threads),
      ...evaluationNote(opened.changed),
      ...computedNote(opened.computed),
      ...droppedNote(plan),
      ...stillNote(plan),
    ];
    const config: RunConfig = {
      format: 's2h-run/1',
      verb,
      model: name,
      data: given.data,
      given: stripped(given),
      settings,
      threads,
      budget,
      preprocessing,
      dataFingerprint: dataset.fingerprint,
      classes: dataset.classes,
      trainedStart,
      notes,
      start: hashOfModel(directory.file('start.onnx')),
      versions: { s2hpruner: version, node: process.versions.node },
      command: commandLine(verb, request.model, request.given, budget),
    };
    writeJson(directory.file('config.json'), config);
    return { plan, config, directory, notes };
  } catch (error) {
    directory.discard();
    throw error;
  }
}

/** A network of two axes takes images as rows. @throws UserError E_INPUT_SHAPE when these have another length */
function refuseOtherRows(
  shape: readonly (number | null)[],
  { size }: TrainingPlan['preprocessing'],
  channels: number,
): void {
  const [height, width] = size!;
  const length = channels * height * width;
  if (shape.length !== 2 || shape[1] === null || shape[1] === length) return;
  throw new UserError(
    'E_INPUT_SHAPE',
    `The network takes rows of ${shape[1]} numbers; images of ${channels}x${height}x${width} give ${length}.`,
    {
      fix: 'Say what it expects with --size and --color.',
    },
  );
}

const short = (x: number): number => Number(x.toPrecision(4));

/** Exported in training mode: what is handed back runs in evaluation mode. */
const evaluationNote = (changed: readonly string[]): string[] =>
  changed.length
    ? [`The file was exported in training mode; ${changed.length} nodes (${changed[0]} …) are used in evaluation mode.`]
    : [];

/** Images that fill no batch are left out of an epoch; the user is told. */
function droppedNote({ dataset, settings }: TrainingPlan): string[] {
  const size = dataset.train.size;
  if (size < settings.batch)
    return [`The training set has ${size} images: every step takes all of them (--batch ${settings.batch} is more).`];
  const dropped = size % settings.batch;
  return dropped
    ? [
        `Each epoch leaves out ${dropped} of ${size} training images (others each time): they fill no batch of ${settings.batch}.`,
      ]
    : [];
}

/** A search without a step that moves the masks finds nothing; the user is told. */
function stillNote({ settings }: TrainingPlan): string[] {
  if (!searches(settings) || movesOf(settings, settings.steps) > 0) return [];
  const { searchFrom, searchUntil, maskEvery, steps } = settings;
  return [
    `The masks never move: none of the ${steps} steps does so with --search-from ${searchFrom}, --search-until ${searchUntil} and --mask-every ${maskEvery}. The widths are those that the masks start from, brought to the budget without training.`,
  ];
}

/**
 * A trained file that answers like a coin is fed wrongly.
 * @throws UserError E_NEAR_CHANCE naming the suspects
 */
async function refuseChance(
  plan: TrainingPlan,
  directory: RunDirectory,
  name: string,
  context: Context,
): Promise<void> {
  const split = plan.dataset.validation.size ? 'validation' : 'test';
  const { top1, images, classes } = await evaluateFile(
    directory.file('start.onnx'),
    batchesOf(plan, split, context.signal),
    {
      threads: plan.threads.threads,
      signal: context.signal,
    },
  );
  const chance = 1 / classes;
  const limit = Math.max(1.5 * chance, chance + 3 * Math.sqrt((chance * (1 - chance)) / images));
  context.onEvent({ type: 'evaluation', step: 0, split, dense: top1 });
  if (top1 >= Math.min(limit, 0.9)) return;
  const { scale, mean, std, color, layout, labelOrder } = plan.preprocessing;
  throw new UserError(
    'E_NEAR_CHANCE',
    `The file answers ${percent(top1)} of ${images} ${split} images right; chance is ${percent(chance)}.`,
    {
      where: name,
      fix: `It was trained with another preprocessing, or on other classes: scale ${short(scale)}, mean ${mean.map(short)}, std ${std.map(short)}, ${color}, ${layout}, ${labelOrder ? 'the label order given' : "the data set's label order"} were used. Say what it expects with --scale, --mean, --std, --color, --layout, --size or --label-order; or --untrained if its weights mean nothing, or --labels none to imitate its outputs.`,
    },
  );
}

/** Two checkpoints and one being written, the files that are handed back, the log. */
function spaceNeeded({ graph }: Coupling, { optimizer, momentum, steps }: TrainingPlan['settings']): number {
  let size = 0;
  for (const tensor of graph.tensors.values()) size += 4 * tensor.dims.reduce((a, b) => a * b, 1);
  const states = optimizer === 'adamw' ? 3 : momentum > 0 ? 2 : 1;
  return size * (3 * states + 4) + 300 * steps + 1_000_000;
}

const stripped = (options: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** The command line that would start a run. */
export function commandLine(verb: string, model: string, given: GivenOptions, budget: TrainingPlan['budget']): string {
  const quoted = (value: unknown) =>
    /^[\w./:=,@%+-]+$/.test(String(value)) ? String(value) : JSON.stringify(String(value));
  const words = Object.entries(stripped(given)).flatMap(([key, value]) => {
    const flag = flagOf(key, value);
    return typeof value === 'boolean' ? [flag] : [flag, quoted(value)];
  });
  const budgetFlag = budget && { macs: '--flops', params: '--params', size: '--bytes' }[budget.resource];
  return [
    's2h',
    verb,
    quoted(model),
    ...words,
    ...(budget && !words.includes(budgetFlag!) ? [budgetFlag!, String(budget.value)] : []),
  ].join(' ');
}
