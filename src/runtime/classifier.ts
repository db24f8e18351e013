import { fromHalf, toHalf } from '../onnx/half.ts';
import { UserError } from '../util/errors.ts';
import type { RuntimeTensor, RuntimeValue, Session } from './session.ts';

/** Preprocessed images with their classes; what a loader yields. */
export interface LabelledBatch {
  /** As `shape` says, the images one after the other. */
  readonly images: Float32Array;
  /** [N, C, H, W] or any other layout whose first axis counts images. */
  readonly shape: readonly number[];
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
  const [input, ...others] = session.inputs;
  if (!input || others.length > 0)
    throw new UserError(
      'E_INPUT',
      `Images go into one input, and ${session.name} has ${session.inputs.length}${list(session.inputs)}.`,
      { where: session.name, fix: 'Evaluate a file that takes nothing but the images.' },
    );
  if (wanted !== undefined && !session.outputs.some(output => output.name === wanted))
    throw new UserError('E_NOT_A_CLASSIFIER', `${session.name} has no output '${wanted}'.`, {
      where: session.name,
      fix: `Its outputs are${list(session.outputs).replace(':', '')}.`,
    });
  const convert = conversion(input, session.name);
  const fixed = typeof input.shape[0] === 'number' && input.shape[0] > 0 ? input.shape[0] : undefined;
  const classifier: Classifier = {
    output: wanted ?? '',
    classes: 0,
    async scores(batch, signal) {
      const images = batch.labels.length;
      const shape = fittedShape(input, batch, session.name);
      const size = batch.images.length / Math.max(1, images);
      const step = fixed ?? images;
      let scores = new Float32Array(0);
      for (let at = 0; at < images; at += step) {
        signal?.throwIfAborted();
        const count = Math.min(step, images - at);
        const data = convert(filled(batch.images.subarray(at * size, (at + count) * size), step * size, size));
        const results = await session.run(
          { [input.name]: { type: input.type!, shape: [step, ...shape], data } },
          classifier.output ? [classifier.output] : undefined,
        );
        classifier.output ||= chooseOutput(session.name, results);
        const result = results[classifier.output];
        const classes = classesOf(session.name, classifier.output, result, step);
        if (at === 0) scores = new Float32Array(images * classes);
        classifier.classes = classes;
        scores.set(floats(result).subarray(0, count * classes), at * classes);
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

/** The shape to feed, without the batch axis; a flat input takes the pixels in their order. */
function fittedShape(input: RuntimeValue, batch: LabelledBatch, name: string): readonly number[] {
  const [images, ...given] = batch.shape;
  const size = given.reduce((product, length) => product * length, 1);
  if (images !== batch.labels.length || images * size !== batch.images.length)
    throw new RangeError(
      `A batch [${batch.shape}] of ${batch.images.length} numbers and ${batch.labels.length} labels`,
    );
  const declared = input.shape.slice(1);
  const fits = (shape: readonly number[]) =>
    declared.length === shape.length &&
    declared.every((length, axis) => typeof length === 'string' || length === shape[axis]);
  if (input.shape.length === 0 || fits(given)) return given;
  if (fits([size])) return [size];
  const expected = input.shape.map((length, axis) => length || 'NCHW'[axis] || '?').join(', ');
  throw new UserError(
    'E_INPUT_SHAPE',
    `The input '${input.name}' of ${name} is [${expected}], the images are [N, ${given.join(', ')}].`,
    { where: name, fix: 'Check size, channels and layout of the preprocessing (--size, --layout).' },
  );
}

/** The slice itself when it is full; else filled up with copies of its last image. */
function filled(images: Float32Array, length: number, size: number): Float32Array {
  if (images.length === length) return images;
  const whole = new Float32Array(length);
  whole.set(images);
  const last = images.subarray(images.length - size);
  for (let at = images.length; at < length; at += size) whole.set(last, at);
  return whole;
}

function conversion(input: RuntimeValue, name: string): (images: Float32Array) => RuntimeTensor['data'] {
  switch (input.type) {
    case 'float32':
      return images => images;
    case 'float64':
      return images => Float64Array.from(images);
    case 'float16':
      return images => Uint16Array.from(images, toHalf);
    case 'uint8':
      return images => wholePixels(images, input, name);
    default:
      throw new UserError('E_INPUT', `The input '${input.name}' of ${name} takes ${input.type ?? 'no tensor'}.`, {
        where: name,
        fix: 'Images can be fed as float32, float64, float16 or uint8.',
      });
  }
}

function wholePixels(images: Float32Array, input: RuntimeValue, name: string): Uint8Array {
  const pixels = Uint8Array.from(images);
  if (images.every((value, i) => value === pixels[i])) return pixels;
  throw new UserError('E_INPUT', `The input '${input.name}' of ${name} takes pixels 0 to 255 as uint8.`, {
    where: name,
    fix: 'Switch the normalisation off: --scale 1 --mean 0 --std 1.',
  });
}

const floats = ({ type, data }: RuntimeTensor): Float32Array =>
  data instanceof Float32Array
    ? data
    : Float32Array.from(data as Float64Array | Uint16Array, type === 'float16' ? fromHalf : value => value);

const list = (values: readonly RuntimeValue[]): string =>
  values.length === 0 ? '' : `: ${values.map(value => value.name).join(', ')}`;
