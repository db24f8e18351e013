import { z } from 'zod';
import { type OnnxModel, writeModel } from '../onnx/index.ts';
import { costOf } from '../prune/cost.ts';
import { cutModel } from '../prune/cut.ts';
import { plannedCut } from '../prune/plan.ts';
import { evaluateFile } from '../runtime/evaluate.ts';
import { runtimeVersion } from '../runtime/session.ts';
import { writeJson } from '../train/run-directory.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { amount, count, duration, percent, within } from '../util/format.ts';
import { defineCommand } from './command.ts';
import { optionalDataOptions, preprocessingOptions } from './data-options.ts';
import { contract } from './finish.ts';
import { type Accuracy, accuracyOf } from './outcome.ts';
import { completeRun, type Stopped } from './run-course.ts';
import { trainingOptions } from './run-options.ts';
import { resumeRun } from './run-resume.ts';
import { beginRun, type GivenOptions } from './run-start.ts';
import { coupled } from './starting-model.ts';
import { needed, trainingProgress } from './training-progress.ts';
import { batchesOf, readJson } from './training-run.ts';

/** `result.json` of a plain training run. */
export interface TrainResult {
  readonly format: 's2h-result/1';
  readonly model: string;
  readonly data: string;
  readonly method: 'plain';
  readonly directory: string;
  readonly macs: number;
  readonly params: number;
  /** On the test images: of the start and of trained.onnx, by ONNX Runtime. */
  readonly accuracy: { readonly start: Accuracy; readonly onnx: Accuracy };
  readonly steps: number;
  readonly epochs: number;
  readonly imagesPerSecond: number;
  readonly seconds: number;
  readonly seed: number;
  readonly threads: number;
  readonly threadsWhy: string;
  /** What convolutions and products of the training steps were computed in. */
  readonly precision: 'float32' | 'bfloat16';
  readonly notes: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly command: string;
}

export const command = defineCommand({
  name: 'train',
  summary: 'train a network plainly by the same loop: the honest starting point',
  description:
    'Leaves trained.onnx and result.json in its folder. With --widths it trains the network that a plan leaves of MODEL.',
  arguments: [
    { name: 'model', description: 'an ONNX file or a named architecture; not needed with --resume', required: false },
  ],
  options: z.object({
    ...optionalDataOptions,
    ...trainingOptions,
    ...preprocessingOptions,
    widths: z
      .string()
      .optional()
      .meta({ description: 'plan.json of a pruning run: cut MODEL to its widths first', value: 'PLAN' }),
  }),
  examples: [
    'train resnet20 --data cifar100',
    'train resnet20 --data cifar100 --widths plan.json',
    'train --resume runs/resnet20-cifar100-1',
  ],
  streams: true,

  async run({ model }, { widths, ...options }, context): Promise<TrainResult | Stopped> {
    const { resume } = options;
    const started =
      resume !== undefined
        ? await resumeRun(
            'train',
            { ...options, widths, model, resume } as Partial<GivenOptions> & { resume: string },
            context,
          )
        : await beginRun(
            {
              verb: 'train',
              method: 'plain',
              model: needed(model, 'the model', 's2h train resnet20 --data cifar100'),
              given: {
                ...options,
                ...(widths === undefined ? {} : { widths }),
                data: needed(options.data, '--data', '--data cifar100, or a folder of images'),
              },
              budget: null,
              reshape: widths === undefined ? undefined : start => cutTo(start, widths),
            },
            context,
          );
    if ('ended' in started) return started.ended as TrainResult;
    const { directory, plan, config, notes } = started;
    return completeRun(started, context, async (run, progress) => {
      const trained = run.exported('soft');
      const about = {
        method: 'plain',
        steps: plan.settings.steps,
        seed: plan.settings.seed,
        version: config.versions.s2hpruner,
        role: 'trained',
      };
      const metadata = new Map([...trained.metadata, ...contract(plan), ['s2h', JSON.stringify(about)]]);
      writeModel({ ...trained, metadata }, directory.file('trained.onnx'));
      const judged = async (file: string): Promise<Accuracy> => {
        const options = { threads: run.threads, signal: context.signal };
        const { correct, images } = await evaluateFile(
          directory.file(file),
          batchesOf(plan, 'test', context.signal),
          options,
        );
        return accuracyOf(correct, images);
      };
      const { coupling } = coupled(trained);
      const result: TrainResult = {
        format: 's2h-result/1',
        model: config.model,
        data: config.data,
        method: 'plain',
        directory: directory.path,
        macs: costOf(coupling, 'macs').full,
        params: costOf(coupling, 'params').full,
        accuracy: { start: await judged('start.onnx'), onnx: await judged('trained.onnx') },
        steps: progress.step,
        epochs: progress.step / run.loader.stepsPerEpoch,
        imagesPerSecond: progress.images / progress.seconds,
        seconds: progress.seconds,
        seed: plan.settings.seed,
        threads: run.threads,
        threadsWhy: plan.threads.why,
        precision: run.precision,
        notes: [...notes, ...run.notes],
        versions: { ...config.versions, libtorch: run.libtorch, onnxruntime: await runtimeVersion() },
        command: config.command,
      };
      writeJson(directory.file('result.json'), result);
      return result;
    });
  },

  render: result => {
    if ('stopped' in result)
      return `Stopped after step ${result.step} of ${result.steps}; everything is saved. Go on with:\n  ${result.resume}`;
    const { accuracy, directory } = result;
    const share = (a: Accuracy) => within(a.accuracy, a.interval);
    return [
      `${directory}/trained.onnx`,
      `accuracy  ${share(accuracy.onnx)} on ${accuracy.onnx.images} test images (start: ${percent(accuracy.start.accuracy)})`,
      `MACs      ${count(result.macs)} (papers: "FLOPs")`,
      `params    ${count(result.params)}`,
      `time      ${duration(result.seconds)}, ${amount(result.steps, 'step')}, ${Math.round(result.imagesPerSecond)} images/s on ${amount(result.threads, 'thread')}`,
    ].join('\n');
  },
  progress: trainingProgress,
});

/** What a plan leaves of a model. */
function cutTo(start: OnnxModel, widths: string): OnnxModel {
  let json: unknown;
  try {
    json = readJson(widths);
  } catch (error) {
    throw new UserError('E_PLAN', `The plan could not be read: ${messageOf(error)}.`, {
      where: widths,
      usage: true,
      cause: error,
    });
  }
  const { coupling, kept } = plannedCut(json, coupled(start).graph, widths);
  return cutModel(coupling, kept);
}
