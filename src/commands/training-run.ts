import { readFileSync } from 'node:fs';
import type { Batch, Dataset, Preprocessing } from '../data/dataset.ts';
import { evalBatches, type TrainLoader, trainLoader } from '../data/loader.ts';
import type { Tensor } from '../graph/engine.ts';
import { methods, routesOf } from '../methods/index.ts';
import type { OnnxModel } from '../onnx/index.ts';
import { type Budget, budgetFor } from '../prune/budget.ts';
import { costOf } from '../prune/cost.ts';
import { openEngine, type Torch } from '../torch/index.ts';
import { adamw, sgd } from '../torch/optim.ts';
import { loadCheckpoint, newestCheckpoint, saveCheckpoint, type Trainee } from '../train/checkpoint.ts';
import { clipped } from '../train/clip.ts';
import { evaluateViews, type Gap, type View, type ViewScore } from '../train/evaluation.ts';
import { onDevice, type Progress, type Trained, train } from '../train/loop.ts';
import type { Method } from '../train/method.ts';
import { createNetwork, type Network } from '../train/network.ts';
import { classification, match, type Objective } from '../train/objective.ts';
import { ownedEngine, withOwned } from '../train/owned.ts';
import { type Precision, probePrecision } from '../train/precision.ts';
import { type Renormalised, withNormalisation } from '../train/renormalised.ts';
import type { RunDirectory } from '../train/run-directory.ts';
import { learningRate } from '../train/schedule.ts';
import { createSearch, type Search } from '../train/search.ts';
import { sensitivity } from '../train/sensitivity.ts';
import { UserError } from '../util/errors.ts';
import { percent } from '../util/format.ts';
import { appendJsonLine, closeJsonLines, openJsonLines, truncateJsonLines } from '../util/jsonl.ts';
import type { ThreadLimit } from '../util/threads.ts';
import type { Context } from './command.ts';
import { pricedFor } from './image-shapes.ts';
import { precisionOf } from './run-precision.ts';
import type { RunSettings } from './run-settings.ts';
import { coupled } from './starting-model.ts';

/** Everything that a training run is put together from. */
export interface TrainingPlan {
  readonly start: OnnxModel;
  /** Its weights mean something: it is a file, and not said to be untrained. */
  readonly trainedStart: boolean;
  readonly dataset: Dataset;
  readonly preprocessing: Preprocessing;
  readonly settings: RunSettings;
  /** CPU threads, and why so many. */
  readonly threads: ThreadLimit;
  readonly method: keyof typeof methods;
  /** null: nothing is pruned. */
  readonly budget: { readonly resource: 'macs' | 'params' | 'size'; readonly value: number } | null;
}

/** A run under the engine, ready to train. */
export interface TrainingRun {
  readonly network: Network;
  readonly method: Method;
  readonly search: Search | null;
  readonly loader: TrainLoader;
  readonly threads: number;
  readonly libtorch: string;
  readonly precision: Precision;
  /** The normalisation that was put in for training; null: none. */
  readonly renormalised: Pick<Renormalised, 'convolutions' | 'differs'> | null;
  /** Sentences about how the network is trained. */
  readonly notes: readonly string[];
  /** Train from the newest checkpoint of the folder, if there is one. `saveEverySeconds` and `onCut` as in the loop. */
  go(
    directory: RunDirectory,
    options?: { readonly saveEverySeconds?: number; readonly onCut?: () => void },
  ): Promise<Trained>;
  evaluate(
    views: readonly View[],
    split: 'validation' | 'test',
  ): Promise<{ scores: Partial<Record<View, ViewScore>>; gap: Gap | null }>;
  /** The file with the trained constants and the statistics of one view, at full width. */
  exported(view: 'soft' | 'hard'): OnnxModel;
  /** Free parameters, masks and the optimiser's state; the run can do nothing afterwards. */
  free(): void;
}

const evaluationBatch = 250;

/** Images of a split as the network is fed. */
export const batchesOf = (
  plan: Pick<TrainingPlan, 'dataset' | 'preprocessing'>,
  split: 'validation' | 'test',
  signal: AbortSignal,
): AsyncGenerator<Batch> =>
  evalBatches(plan.dataset[split], { batch: evaluationBatch, preprocessing: plan.preprocessing, signal });

/** Open the engine and build network, masks, method and loader. `free` has to be called when the run is over. */
export async function prepareTraining(
  plan: TrainingPlan,
  directory: RunDirectory,
  context: Context,
): Promise<TrainingRun> {
  const { settings } = plan;
  const engine = await openEngine({
    threads: plan.threads.threads,
    device: settings.device,
    setup: context.setup,
    say: context.say,
    onProgress: ({ what, done, total }) =>
      context.onEvent({ type: 'progress', label: what, done, total, unit: 'bytes' }),
  });
  const owned = ownedEngine(engine);
  const { torch } = owned;
  const loader = trainLoader(plan.dataset.train, {
    batch: settings.batch,
    seed: settings.seed,
    preprocessing: plan.preprocessing,
    augmentation: plan.dataset.augmentation,
  });
  const free = () => {
    loader.close();
    owned.free();
  };
  try {
    const batches = plan.trainedStart ? await firstBatches(loader) : [];
    const renormalised =
      plan.trainedStart && !settings.keepFolded ? withNormalisation(torch, plan.start, batches) : null;
    const model = renormalised?.model ?? plan.start;
    if (settings.labels === 'none') refuseOtherStatistics(torch, model, plan, batches[0]);
    const precision = await precisionOf(settings.precision, directory, async () =>
      probePrecision(torch, model, await loader.at(0)),
    );
    let run: TrainingRun;
    // What is made on the way and not kept goes.
    torch.scope(() => {
      run = build(plan, torch, loader, batches, renormalised, precision, free, context);
    });
    return run!;
  } catch (error) {
    free();
    throw error;
  }
}

function build(
  plan: TrainingPlan,
  torch: Torch,
  loader: TrainLoader,
  batches: readonly Batch[],
  renormalised: Renormalised | null,
  { precision, notes }: { readonly precision: Precision; readonly notes: readonly string[] },
  free: () => void,
  context: Context,
): TrainingRun {
  const { settings, start } = plan;
  const network = createNetwork(torch, renormalised?.model ?? start, { ...settings, precision });
  refuseSingleImage(network, loader);
  const objective: Objective = settings.labels === 'none' ? match(torch) : classification(torch);
  const search = plan.budget
    ? createSearch(network.coupling, budgetOfFile(plan, plan.budget, renormalised?.fold(network.exported('soft'))), {
        ...settings,
        granularity: settings.round,
        sensitivity: settings.order === 'fisher' ? sensitivity(torch, network, batches, settings.seed) : null,
      })
    : null;
  const optimizer =
    settings.optimizer === 'sgd'
      ? sgd(torch, network.parameters, { momentum: settings.momentum, weightDecay: settings.weightDecay })
      : adamw(torch, network.parameters, { weightDecay: settings.weightDecay });
  const method = methods[plan.method]({
    torch,
    network,
    objective,
    search,
    settings: { ...settings, routes: routesOf(settings.routes), maskLearningRate: settings.maskLr },
    steps: settings.steps,
    optimize: (gradients, rate) =>
      optimizer.step(settings.clip ? clipped(torch, gradients, settings.clip) : gradients, rate),
  });
  const hasOriginal = objective.needsTeacher || settings.teacher === 'original';
  const teacher = hasOriginal ? teacherOf(createNetwork(torch, start)) : null;
  const trainee: Trainee = { torch, network, optimizer, search };
  const shared = { trainee, teacher, labels: settings.labels === 'data', signal: context.signal };
  const evaluate: TrainingRun['evaluate'] = (views, split) =>
    evaluateViews(shared, objective, views, batchesOf(plan, split, context.signal));

  return {
    network,
    method,
    search,
    loader,
    threads: torch.threads,
    libtorch: `${torch.version} (${torch.libtorch.kind})`,
    evaluate,
    exported: view => (renormalised ? renormalised.fold(network.exported(view)) : network.exported(view)),
    precision,
    renormalised: renormalised && { convolutions: renormalised.convolutions, differs: renormalised.differs },
    notes: [...(renormalised ? [renormalisedNote(renormalised)] : []), ...notes],
    free,
    async go(directory, { saveEverySeconds, onCut } = {}) {
      const checkpoint = newestCheckpoint(directory.path, context.say);
      const from: Progress = checkpoint ?? { step: 0, seconds: 0, images: 0 };
      if (checkpoint) loadCheckpoint(directory.path, checkpoint, trainee);
      const events = directory.file('events.jsonl');
      // What was logged after the checkpoint happens again; so does an evaluation right after it.
      truncateJsonLines(
        events,
        ({ type, step = 0 }) => Number(step) > from.step || (type === 'evaluation' && step === from.step),
      );
      const log = openJsonLines(events);
      const emit = (event: { type: string; [key: string]: unknown }) => {
        appendJsonLine(log, event);
        context.onEvent(event);
      };
      try {
        return await train({
          ...shared,
          method,
          loader,
          steps: settings.steps,
          seed: settings.seed,
          remedies: [
            ...(settings.clip > 0 && settings.clip <= 1 ? [] : ['shorter steps (--clip 1)']),
            ...(renormalised ? ['train without the normalisation that was inserted (--keep-folded)'] : []),
            'lower --lr',
          ],
          learningRate: learningRate(settings.lr, settings.steps, settings.warmup),
          from,
          saveEverySeconds,
          onCut,
          onStep: event => emit({ ...event }),
          save(progress) {
            saveCheckpoint(directory.path, trainee, progress);
            emit({ type: 'checkpoint', step: progress.step });
          },
          async onEpoch(step) {
            if (step === settings.steps) method.result();
            const { scores, gap } = await evaluate(method.views(step - 1), 'validation');
            const shares = Object.fromEntries(Object.entries(scores).map(([view, score]) => [view, score.accuracy]));
            emit({ type: 'evaluation', step, split: 'validation', ...shares, ...(gap ?? {}) });
          },
        });
      } finally {
        closeJsonLines(log);
      }
    },
  };
}

/**
 * The budget in terms of the file that will be written: folding a normalisation gives convolutions a bias that they may
 * not have had before.
 * @param folded that file, where it has other constants than the start
 */
function budgetOfFile(
  { start, settings, preprocessing }: TrainingPlan,
  { resource, value }: NonNullable<TrainingPlan['budget']>,
  folded?: OnnxModel,
): Budget {
  const priced = (model: OnnxModel) => pricedFor(coupled(model, settings).coupling, preprocessing);
  const before = priced(start);
  if (!folded) return budgetFor(before, { resource, value }, settings.round);
  const most = value <= 1 ? value * costOf(before, resource).full : value;
  return budgetFor(priced(folded), { resource, value: most }, settings.round);
}

/** Images enough for the statistics of every channel: about 500, in the order of training. */
async function firstBatches(loader: TrainLoader): Promise<Batch[]> {
  const batches: Batch[] = [];
  for (let step = 0; step * loader.batch < 500; step++) batches.push(await loader.at(step));
  return batches;
}

const renormalisedNote = ({ convolutions, differs }: Renormalised): string =>
  `The file has no BatchNormalization: one stands behind ${convolutions} of its convolutions while it is trained, and is folded back in what is written, whose convolutions have biases then (--keep-folded trains without). On a batch of training images its outputs differ from the file's by ${differs.evaluation.toExponential(1)} of their size in evaluation mode and, by the statistics of the batch, by ${percent(differs.training)} in training mode.`;

/**
 * Before anything is trained the network differs from what it imitates only by its batch statistics.
 * @throws UserError E_STATISTICS where it answers no more like itself than a constant would
 */
function refuseOtherStatistics(torch: Torch, model: OnnxModel, { start }: TrainingPlan, batch: Batch): void {
  const L = withOwned(torch, own => {
    const [network, original] = [model, start].map(each => createNetwork(own, each));
    return own.noGrad(() => {
      const trainee = { torch: own, network };
      const { x, target } = onDevice({ trainee, teacher: teacherOf(original), labels: false }, batch);
      return own.item(match(own).loss(network.dense(x, true), target));
    });
  });
  if (L >= 1) throw otherStatistics(L, start.path);
}

const otherStatistics = (L: number, path: string | undefined): UserError =>
  new UserError(
    'E_STATISTICS',
    `With the statistics of these images the network does not answer like itself (loss ${L.toPrecision(3)}; a constant answer has 1).`,
    {
      where: path,
      fix: 'Its BatchNormalization knows other images: say what it expects with --scale, --mean, --std, --color, --layout or --size, or train it on labels.',
    },
  );

/** The network that is imitated, in evaluation mode. */
const teacherOf = (network: Network) => (images: Tensor) => network.dense(images, false);

/** Batch statistics of a single value per channel are no statistics. */
function refuseSingleImage(network: Network, loader: TrainLoader): void {
  if (loader.batch > 1) return;
  const { graph } = network.coupling;
  const flat = graph.nodes.find(node => {
    if (node.opType !== 'BatchNormalization') return false;
    const [, , ...spatial] = graph.types.get(node.inputs[0])?.shape ?? [];
    return spatial.every(dim => dim === 1);
  });
  if (!flat) return;
  throw new UserError(
    'E_BATCH_OF_ONE',
    `BatchNormalization '${flat.name}' sees one value per channel when a batch has one image.`,
    {
      fix: 'Train with --batch 2 or more, on at least two images.',
    },
  );
}

/** A JSON file of a run. */
export const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
