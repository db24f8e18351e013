import { UserError } from '../util/errors.ts';
import { mcnemar, wilsonInterval } from '../util/stats.ts';
import { classifierOf, type LabelledBatch } from './classifier.ts';
import { type Optimize, openSession } from './session.ts';

export interface EvaluateOptions {
  /** 1 by default. */
  readonly threads?: number;
  readonly optimize?: Optimize;
  /** The output with the class scores, where the file leaves a choice. */
  readonly output?: string;
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of images done. */
  readonly onProgress?: (images: number) => void;
  /** Called after every batch with its class scores, [N, classes]. */
  readonly onScores?: (scores: Float32Array, batch: LabelledBatch) => void;
}

export interface ClassResult {
  readonly class: number;
  readonly correct: number;
  readonly total: number;
}

/** What a file answers on labelled images. Shares are between 0 and 1. */
export interface Evaluation {
  readonly path: string;
  readonly output: string;
  readonly images: number;
  readonly classes: number;
  readonly correct: number;
  readonly top1: number;
  /** Share of images whose class is among the five highest scores; 1 for five classes or fewer. */
  readonly top5: number;
  /** Of `top1`, at 95 % (Wilson). */
  readonly interval: readonly [number, number];
  /** [images] the class with the highest score, the first of equals; -1 where every score is NaN. */
  readonly predictions: Int32Array;
  /** [images] as given. */
  readonly labels: Int32Array;
  /** One for every class that occurs, ascending. */
  readonly perClass: readonly ClassResult[];
  readonly threads: number;
  readonly optimize: Optimize;
}

/**
 * Accuracy of a file on labelled images, computed by ONNX Runtime alone. Every image counts once: a file with a fixed
 * batch is fed in slices of that size, the last one filled up with copies that are not counted.
 * @throws UserError E_NOT_A_CLASSIFIER, E_INPUT_SHAPE, E_INPUT, E_LABELS when file and data do not fit, E_NO_IMAGES
 * without any image, those of `openSession`; what `signal` says when it aborts
 */
export async function evaluateFile(
  path: string,
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const session = await openSession(path, { threads: options.threads, optimize: options.optimize });
  try {
    const classifier = classifierOf(session, options.output);
    const predictions: number[] = [];
    const labels: number[] = [];
    let inTopFive = 0;
    for await (const batch of batches) {
      const scores = await classifier.scores(batch, options.signal);
      for (let i = 0; i < batch.labels.length; i++) {
        const row = scores.subarray(i * classifier.classes, (i + 1) * classifier.classes);
        const label = batch.labels[i];
        checkLabel(label, classifier.classes, classifier.output, path);
        predictions.push(highest(row));
        labels.push(label);
        if (rank(row, label) < 5) inTopFive++;
      }
      options.onScores?.(scores, batch);
      options.onProgress?.(labels.length);
    }
    if (labels.length === 0) throw new UserError('E_NO_IMAGES', 'There are no images to evaluate.', { where: path });
    const correct = predictions.filter((prediction, i) => prediction === labels[i]).length;
    return {
      path,
      output: classifier.output,
      images: labels.length,
      classes: classifier.classes,
      correct,
      top1: correct / labels.length,
      top5: inTopFive / labels.length,
      interval: wilsonInterval(correct, labels.length),
      predictions: Int32Array.from(predictions),
      labels: Int32Array.from(labels),
      perClass: byClass(predictions, labels),
      threads: session.threads,
      optimize: session.optimize,
    };
  } finally {
    await session.dispose();
  }
}

/**
 * Where the runtime's own optimiser breaks a file, the graph runs as it is written.
 * @param evaluate one evaluation
 * @param told called with the optimiser's error where the file runs without it
 * @throws what `evaluate` throws with the optimiser on, where it does without it too
 */
export async function withOrWithoutOptimiser(
  evaluate: (optimize: Optimize) => Promise<Evaluation>,
  told: (error: UserError) => void,
): Promise<Evaluation> {
  try {
    return await evaluate('all');
  } catch (error) {
    if (!(error instanceof UserError && error.code === 'E_RUNTIME')) throw error;
    const plain = await evaluate('none').catch(() => null);
    if (!plain) throw error;
    told(error);
    return plain;
  }
}

/** How the answers of a second file on the same images differ from those of a first. */
export interface EvaluationDifference {
  /** Images with another answer. */
  readonly changed: number;
  /** Right before, wrong after. */
  readonly lost: number;
  /** Wrong before, right after. */
  readonly gained: number;
  /** Exact McNemar test of equal accuracy: how often chance alone would give such an imbalance of lost and gained. */
  readonly p: number;
  /** Number of correct images per class before and after, the class that lost most first. */
  readonly perClass: readonly { readonly class: number; readonly total: number; before: number; after: number }[];
}

/** Compare two evaluations of the same images in the same order. */
export function compareEvaluations(before: Evaluation, after: Evaluation): EvaluationDifference {
  if (before.images !== after.images || before.labels.some((label, i) => label !== after.labels[i]))
    throw new RangeError('The evaluations are of different images');
  let changed = 0;
  let lost = 0;
  let gained = 0;
  before.labels.forEach((label, i) => {
    const [first, second] = [before.predictions[i], after.predictions[i]];
    if (first !== second) changed++;
    if (first === label && second !== label) lost++;
    if (first !== label && second === label) gained++;
  });
  const perClass = before.perClass.map((result, i) => ({
    class: result.class,
    total: result.total,
    before: result.correct,
    after: after.perClass[i].correct,
  }));
  perClass.sort((a, b) => a.after - a.before - (b.after - b.before) || a.class - b.class);
  return { changed, lost, gained, p: mcnemar(lost, gained), perClass };
}

function checkLabel(label: number, classes: number, output: string, name: string): void {
  if (label >= 0 && label < classes) return;
  throw new UserError(
    'E_LABELS',
    `The data has a class ${label}, the output '${output}' of ${name} ${classes} scores.`,
    {
      where: name,
      fix: 'Evaluate on the data set that the network was trained for.',
    },
  );
}

function highest(scores: Float32Array): number {
  let best = -1;
  for (let i = 0; i < scores.length; i++) if (!(scores[i] <= scores[best]) && !Number.isNaN(scores[i])) best = i;
  return best;
}

/** How many classes come before this one, the first of equals winning. */
function rank(scores: Float32Array, label: number): number {
  const score = scores[label];
  if (Number.isNaN(score)) return Number.POSITIVE_INFINITY;
  let before = 0;
  for (let i = 0; i < scores.length; i++) if (scores[i] > score || (scores[i] === score && i < label)) before++;
  return before;
}

function byClass(predictions: readonly number[], labels: readonly number[]): ClassResult[] {
  const results = new Map<number, { class: number; correct: number; total: number }>();
  labels.forEach((label, i) => {
    const result = results.get(label) ?? { class: label, correct: 0, total: 0 };
    result.total++;
    if (predictions[i] === label) result.correct++;
    results.set(label, result);
  });
  return [...results.values()].sort((a, b) => a.class - b.class);
}
