import { existsSync } from 'node:fs';
import type { Batch } from '../data/dataset.ts';
import { type EvaluateOptions, type Evaluation, evaluateFile, withOrWithoutOptimiser } from '../runtime/evaluate.ts';
import type { ViewScore } from '../train/evaluation.ts';
import type { RunDirectory } from '../train/run-directory.ts';
import type { Context } from './command.ts';
import { outputNames } from './data-options.ts';
import { type Accuracy, accuracyOf, type PruneResult } from './outcome.ts';
import { batchesOf, type TrainingPlan, type TrainingRun } from './training-run.ts';

/**
 * Accuracies of all files and views of a run on the test images: of files by ONNX Runtime, of views under the training
 * engine, and where their answers differ.
 */
export async function measureAccuracy(
  plan: TrainingPlan,
  run: TrainingRun,
  directory: RunDirectory,
  context: Context,
): Promise<Pick<PruneResult, 'accuracy' | 'changed' | 'gap' | 'engine'>> {
  const say = (label: string) => (done: number) =>
    context.onEvent({ type: 'progress', label, done, total: plan.dataset.test.size, unit: 'images' });
  const options = (label: string) => ({ threads: run.threads, signal: context.signal, onProgress: say(label) });
  const images = () => batchesOf(plan, 'test', context.signal);
  const imitate = plan.settings.labels === 'none';
  const evaluated = (path: string, batches: () => AsyncIterable<Batch>, given: EvaluateOptions) =>
    withOrWithoutOptimiser(
      optimize => evaluateFile(path, batches(), { ...given, optimize }),
      error => context.say(`${error.what} With graph optimisation off it runs, so that is what is reported.`),
    );
  const start = await evaluated(
    directory.file('start.onnx'),
    () => (imitate ? withLabels(images(), null) : images()),
    options('evaluating the start'),
  );
  const { scores, gap } = await run.evaluate(run.method.views(plan.settings.steps - 1), 'test');
  const judged = (file: string, label: string) =>
    evaluated(
      directory.file(file),
      () => (imitate ? withLabels(images(), start.predictions) : images()),
      options(label),
    );
  const cut = existsSync(directory.file('cut.onnx'))
    ? await judged('cut.onnx', 'evaluating the file at the cut')
    : null;
  const onnx = await judged('pruned.onnx', 'evaluating the pruned file');
  const names = outputNames(plan.dataset, plan.preprocessing);
  const className = (index: number) => (imitate ? String(index) : (names[index] ?? String(index)));
  return {
    accuracy: {
      measure: imitate ? 'agreement with the original' : 'labels',
      dense: imitate ? null : ofEvaluation(start),
      ...(scores.soft ? { soft: ofScore(scores.soft) } : {}),
      ...(cut ? { cut: ofEvaluation(cut) } : {}),
      hard: ofScore(scores.hard!),
      onnx: ofEvaluation(onnx),
    },
    // A network that started untrained has no answers worth comparing with.
    changed: plan.trainedStart
      ? { against: 'start', ...changedAnswers(start.predictions, onnx, className) }
      : scores.soft
        ? { against: 'soft', ...changedAnswers(scores.soft.predictions, onnx, className) }
        : null,
    gap,
    engine: {
      differing: onnx.predictions.reduce((n, answer, i) => n + Number(answer !== scores.hard!.predictions[i]), 0),
      images: onnx.images,
    },
  };
}

const ofEvaluation = ({ correct, images }: Evaluation): Accuracy => accuracyOf(correct, images);
const ofScore = ({ correct, images }: ViewScore): Accuracy => accuracyOf(correct, images);

/** Which answers differ from earlier ones on the same images, and the classes that lost most. */
function changedAnswers(
  before: Int32Array,
  after: Evaluation,
  className: (index: number) => string,
): Omit<NonNullable<PruneResult['changed']>, 'against'> {
  const classes = new Map<number, { before: number; after: number; images: number }>();
  let images = 0;
  after.labels.forEach((label, i) => {
    const entry = classes.get(label) ?? { before: 0, after: 0, images: 0 };
    classes.set(label, entry);
    entry.images++;
    if (before[i] === label) entry.before++;
    if (after.predictions[i] === label) entry.after++;
    if (before[i] !== after.predictions[i]) images++;
  });
  const worstClasses = [...classes]
    .filter(([, entry]) => entry.after < entry.before)
    .sort(([, a], [, b]) => a.after - a.before - (b.after - b.before))
    .slice(0, 3)
    .map(([index, entry]) => ({ name: className(index), ...entry }));
  return { images, of: after.images, worstClasses };
}

/** Batches with other labels: answers of the original, or none. */
async function* withLabels(batches: AsyncIterable<Batch>, labels: Int32Array | null): AsyncGenerator<Batch> {
  let at = 0;
  for await (const batch of batches) {
    const n = batch.labels.length;
    yield { ...batch, labels: labels ? labels.slice(at, at + n) : new Int32Array(n) };
    at += n;
  }
}
