import { fromHalf } from '../onnx/half.ts';
import { UserError } from '../util/errors.ts';
import { type ImageBatch, imageFeeder } from './images.ts';
import type { RuntimeTensor, RuntimeValue, Session } from './session.ts';

/** Preprocessed images with their classes; what a loader yields. */
export interface LabelledBatch extends ImageBatch {
  /** [N] class indices in the order of the network's outputs. */
  readonly labels: Int32Array;
}

/** A session that gives class scores for images. */
export interface Classifier {
  /** Both are known once the first batch has run. */
  output: string;
  classes: number;
  /** Class scores of a batch, [N, classes]. */
  scores(batch: LabelledBatch, signal?: AbortSignal): Promise<Float32Array>;
}

/**
 * Find out how images go in and where class scores come out.
 * @param wanted the output with the class scores; otherwise the only one, or the first with one row of scores per image
 * @throws UserError E_INPUT and E_NOT_A_CLASSIFIER, here or on the first batch; E_INPUT_SHAPE when images do not fit
 */
export function classifierOf(session: Session, wanted: string | undefined): Classifier {
  const slices = imageFeeder(session.inputs, session.name);
  if (wanted !== undefined && !session.outputs.some(output => output.name === wanted))
    throw new UserError('E_NOT_A_CLASSIFIER', `${session.name} has no output '${wanted}'.`, {
      where: session.name,
      fix: `Its outputs are${list(session.outputs).replace(':', '')}.`,
    });
  const classifier: Classifier = {
    output: wanted ?? '',
    classes: 0,
    async scores(batch, signal) {
      const images = batch.labels.length;
      if (batch.shape[0] !== images) throw new RangeError(`A batch [${batch.shape}] with ${images} labels`);
      let scores = new Float32Array(0);
      let at = 0;
      for (const { feeds, images: count } of slices(batch)) {
        signal?.throwIfAborted();
        const results = await session.run(feeds, classifier.output ? [classifier.output] : undefined);
        classifier.output ||= chooseOutput(session.name, results);
        const result = results[classifier.output];
        const rows = Object.values(feeds)[0].shape[0];
        const classes = classesOf(session.name, classifier.output, result, rows);
        if (at === 0) scores = new Float32Array(images * classes);
        classifier.classes = classes;
        scores.set(floats(result).subarray(0, count * classes), at * classes);
        at += count;
      }
      return scores;
    },
  };
  return classifier;
}

/** The only output, or the first with one row of scores per image. */
function chooseOutput(name: string, results: Readonly<Record<string, RuntimeTensor>>): string {
  const all = Object.entries(results);
  if (all.length === 1) return all[0][0];
  const found = all.find(([, { type, shape }]) => type.startsWith('float') && shape.length === 2);
  if (found) return found[0];
  const described = all.map(([key, { shape }]) => `${key} [${shape.join(', ')}]`).join(', ');
  throw new UserError(
    'E_NOT_A_CLASSIFIER',
    `No output of ${name} has one row of class scores per image: ${described}.`,
    {
      where: name,
      fix: 'Name the output with the class scores: --output NAME.',
    },
  );
}

/** Axes behind the classes must have the length 1, as [N, classes, 1, 1]. */
function classesOf(name: string, output: string, { type, shape }: RuntimeTensor, images: number): number {
  const [rows, classes = 0, ...rest] = shape;
  if (rows === images && classes > 0 && rest.every(length => length === 1) && type.startsWith('float')) return classes;
  throw new UserError(
    'E_NOT_A_CLASSIFIER',
    `The output '${output}' of ${name} is ${type} [${shape.join(', ')}] for ${images} images; class scores are ` +
      `[${images}, classes].`,
    { where: name, fix: 'Name the output with the class scores (--output NAME), or evaluate a classifier.' },
  );
}

const floats = ({ type, data }: RuntimeTensor): Float32Array =>
  data instanceof Float32Array
    ? data
    : Float32Array.from(data as Float64Array | Uint16Array, type === 'float16' ? fromHalf : value => value);

const list = (values: readonly RuntimeValue[]): string =>
  values.length === 0 ? '' : `: ${values.map(value => value.name).join(', ')}`;
