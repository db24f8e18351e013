import type { Batch } from '../data/dataset.ts';
import { preprocessingKey, toMetadata } from '../data/preprocess.ts';
import { type OnnxModel, readModel, writeModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { costOf } from '../prune/cost.ts';
import { cutModel } from '../prune/cut.ts';
import type { Coupling } from '../prune/groups.ts';
import { type KeptChannels, planOf } from '../prune/plan.ts';
import { type Certificate, certify } from '../runtime/certificate.ts';
import { type LatencyRow, measureLatency } from '../runtime/latency.ts';
import { runtimeVersion } from '../runtime/session.ts';
import type { Progress } from '../train/loop.ts';
import { type RunDirectory, writeJson } from '../train/run-directory.ts';
import { UserError } from '../util/errors.ts';
import type { Context } from './command.ts';
import { imageShapes, pricedFor } from './image-shapes.ts';
import type { CostChange, PruneResult } from './outcome.ts';
import { harmRemark, shortfallRemark, unsteadyRemark } from './remarks.ts';
import { measureAccuracy } from './run-accuracy.ts';
import type { RunConfig } from './run-config.ts';
import { coupled } from './starting-model.ts';
import { batchesOf, type TrainingPlan, type TrainingRun } from './training-run.ts';

/** Write the files that a run hands back, compare them with what was trained, and measure them. */
export async function finishPruning(
  plan: TrainingPlan,
  config: RunConfig,
  run: TrainingRun,
  directory: RunDirectory,
  progress: Progress,
  notes: readonly string[],
  context: Context,
): Promise<PruneResult> {
  const kept = run.method.result()!;
  const coupling = writeFiles(plan, config, run, directory, kept);
  const shapes = imageShapes(coupling.graph, plan.preprocessing);
  const proof = await certify({
    full: coupling.graph.model,
    small: readModel(directory.file('pruned.onnx')),
    kept,
    coupling: coupling.options,
    operators,
    shapes,
    images: firstImages(plan, context.signal),
    seed: plan.settings.seed,
  });
  const { engine, ...accuracy } = await measureAccuracy(plan, run, directory, context);
  const certificate = withEngine(proof, engine);
  const latency = await measureLatency([directory.file('start.onnx'), directory.file('pruned.onnx')], {
    seconds: 0.5,
    shapes,
    signal: context.signal,
  }).catch(latencyNotMeasured);
  const counts = kept.map(channels => channels.length);
  const priced = pricedFor(coupling, plan.preprocessing);
  const start = pricedFor(coupled(plan.start, plan.settings).coupling, plan.preprocessing);
  const cost = (resource: 'macs' | 'params' | 'size'): CostChange => {
    const before = costOf(start, resource).full;
    const after = costOf(priced, resource).at(counts);
    return { before, after, ratio: after / before };
  };
  const budget = { ...plan.budget!, fraction: run.search!.budget.fraction };
  const costs = { macs: cost('macs'), params: cost('params'), size: cost('size') };
  const remarks = [
    ...shortfallRemark(budget, costs[budget.resource], plan.settings),
    ...harmRemark(accuracy.accuracy, { lr: plan.settings.lr, renormalised: run.renormalised !== null }),
    ...unsteadyRemark(latency.rows),
  ];
  for (const remark of remarks) context.say(remark);
  const { frozen, tensors } = trainedConstants(coupling, run, start.graph.tensors);
  return {
    format: 's2h-result/1',
    model: config.model,
    data: config.data,
    method: plan.method,
    trainedStart: plan.trainedStart,
    directory: directory.path,
    budget,
    macs: costs.macs,
    params: costs.params,
    bytes: costs.size,
    ...accuracy,
    engine,
    widths: coupling.groups.map((group, i) => ({ group: group.name, size: group.size, kept: counts[i] })),
    trained: { tensors, frozen },
    renormalised: run.renormalised,
    certificate,
    latency: latency.rows
      .filter(row => row.path === directory.file('pruned.onnx'))
      .map(row => {
        const before = latency.rows.find(
          other => other.path !== row.path && other.batch === row.batch && other.threads === row.threads,
        );
        return {
          batch: row.batch,
          threads: row.threads,
          before: before?.medianMs ?? null,
          after: row.medianMs ?? null,
          speedup: row.speedup ?? null,
          ...(row.notRun === undefined ? {} : { notRun: row.notRun }),
        };
      }),
    steps: progress.step,
    epochs: progress.step / run.loader.stepsPerEpoch,
    imagesPerSecond: progress.images / progress.seconds,
    seconds: progress.seconds,
    seed: plan.settings.seed,
    threads: run.threads,
    threadsWhy: plan.threads.why,
    precision: run.precision,
    skippedImages: plan.dataset.skipped,
    droppedImages: run.loader.dropped,
    notes: [...notes, ...run.notes, ...remarks, ...('notes' in latency ? latency.notes : [])],
    versions: { ...config.versions, libtorch: run.libtorch, onnxruntime: await runtimeVersion() },
    command: config.command,
  };
}

/** @throws UserError E_CERTIFICATE when the pruned file of a run is not equal to what was trained */
export function refuseUnproven({ certificate, directory }: PruneResult): void {
  if (certificate.passed) return;
  throw new UserError(
    'E_CERTIFICATE',
    `The pruned file does not compute what was trained: ${certificate.failure ?? 'outputs differ'}.`,
    {
      where: `${directory}/pruned.onnx`,
      fix: `Do not use it; ${directory}/result.json has the figures. This is a bug worth reporting, with ${directory}/plan.json.`,
    },
  );
}

/** What our metadata says of a model. */
const described = (plan: TrainingPlan, config: RunConfig, model: OnnxModel, what: object): OnnxModel => {
  const { method, settings } = plan;
  const about = { method, steps: settings.steps, seed: settings.seed, version: config.versions.s2hpruner, ...what };
  return { ...model, metadata: new Map([...model.metadata, ...contract(plan), ['s2h', JSON.stringify(about)]]) };
};

/** cut.onnx: the hard network at the moment it is cut, before it is trained alone. */
export function writeCut(plan: TrainingPlan, config: RunConfig, run: TrainingRun, directory: RunDirectory): void {
  const kept = run.method.result()!;
  const { coupling } = coupled(run.exported('hard'), plan.settings);
  refuseOtherGroups(coupling, run);
  writeModel(described(plan, config, cutModel(coupling, kept), { role: 'cut' }), directory.file('cut.onnx'));
}

/** trained.onnx, plan.json and pruned.onnx: nothing volatile in them. */
function writeFiles(
  plan: TrainingPlan,
  config: RunConfig,
  run: TrainingRun,
  directory: RunDirectory,
  kept: KeptChannels,
): Coupling {
  const trained = described(plan, config, run.exported('hard'), { role: 'trained' });
  writeModel(trained, directory.file('trained.onnx'));
  const { coupling } = coupled(readModel(directory.file('trained.onnx')), plan.settings);
  refuseOtherGroups(coupling, run);
  const written = planOf(coupling, kept);
  writeJson(directory.file('plan.json'), written);
  const about = { role: 'pruned', plan: written.graph };
  writeModel(described(plan, config, cutModel(coupling, kept), about), directory.file('pruned.onnx'));
  return coupling;
}

/** What was kept is said by the groups of the graph that was trained. */
function refuseOtherGroups({ groups }: Coupling, { network }: TrainingRun): void {
  const names = (list: Coupling['groups']) => list.map(({ name, size }) => `${name} ${size}`).join();
  if (names(groups) !== names(network.coupling.groups))
    throw new Error('the trained file has other groups than the graph that was trained');
}

/** Share of the test images that rounding may make a network answer otherwise. */
const roundedAnswers = 0.02;

/** The certificate compares two files; this is whether the network that was trained answers as they do. */
function withEngine(certificate: Certificate, { differing, images }: PruneResult['engine']): Certificate {
  if (differing <= Math.max(2, roundedAnswers * images)) return certificate;
  const failure = `the file answers ${differing} of ${images} test images otherwise than the network under the training engine`;
  return { ...certificate, passed: false, failure: certificate.failure ?? failure };
}

/** A run of hours is not lost for want of a latency. */
export function latencyNotMeasured(error: unknown): { rows: readonly LatencyRow[]; notes: readonly string[] } {
  if (!(error instanceof UserError)) throw error;
  return { rows: [], notes: [`The latency could not be measured: ${error.what}`] };
}

/** Preprocessing and class names, for whoever runs the file. */
export function contract({
  settings,
  preprocessing,
  dataset,
}: Pick<TrainingPlan, 'settings' | 'preprocessing' | 'dataset'>): [string, string][] {
  // Images that only serve to imitate an original say nothing about its classes.
  if (settings.labels === 'none') return [[preprocessingKey, JSON.stringify(preprocessing)]];
  return Object.entries(toMetadata(preprocessing, dataset.classes));
}

/** Real images for the certificate: the first of the test split. */
async function* firstImages(plan: TrainingPlan, signal: AbortSignal): AsyncGenerator<Pick<Batch, 'images' | 'shape'>> {
  for await (const { images, shape } of batchesOf(plan, 'test', signal)) {
    const n = Math.min(shape[0], 16);
    yield { images: images.slice(0, n * (images.length / shape[0])), shape: [n, ...shape.slice(1)] };
    return;
  }
}

/**
 * How many constants were trained, and the real-valued ones that were not.
 * @param before constants of the file that the run started from
 */
function trainedConstants(
  coupling: Coupling,
  run: TrainingRun,
  before: ReadonlyMap<string, unknown>,
): { tensors: number; frozen: string[] } {
  const { graph } = coupling;
  const known = new Set([...run.network.names, ...run.network.statistics.soft.keys()]);
  const frozen = [...graph.tensors.values()].filter(
    ({ name, dataType, dims }) =>
      dataType === 1 && dims.length > 0 && before.has(name) && !known.has(name) && graph.consumers.has(name),
  );
  return { tensors: run.network.names.length, frozen: frozen.map(({ name }) => name) };
}
