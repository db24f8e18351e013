import { toHalf } from '../onnx/half.ts';
import { UserError } from '../util/errors.ts';
import type { RuntimeTensor, RuntimeValue } from './session.ts';

/** Preprocessed images. */
export interface ImageBatch {
  /** As `shape` says, the images one after the other. */
  readonly images: Float32Array;
  /** [N, C, H, W] or any other layout whose first axis counts images. */
  readonly shape: readonly number[];
}

/** A part of a batch, as one run takes it. */
export interface ImageFeeds {
  readonly feeds: Readonly<Record<string, RuntimeTensor>>;
  /** How many images it holds; behind them a fixed batch is filled up with copies of the last one. */
  readonly images: number;
}

/**
 * How images go into a file: into its only input, in slices where its batch is fixed, converted to the input's type; a
 * flat input takes the pixels in their order.
 * @param name of the file, for errors
 * @throws UserError E_INPUT when the file takes something else than images; the result throws E_INPUT_SHAPE when they do
 *   not fit, and E_INPUT when normalised images are fed as pixels
 */
export function imageFeeder(
  inputs: readonly RuntimeValue[],
  name: string,
): (batch: ImageBatch) => Generator<ImageFeeds, void> {
  const [input, ...others] = inputs;
  if (!input || others.length > 0) {
    const list = inputs.length === 0 ? '' : `: ${inputs.map(value => value.name).join(', ')}`;
    throw new UserError('E_INPUT', `Images go into one input, and ${name} has ${inputs.length}${list}.`, {
      where: name,
      fix: 'Use a file that takes nothing but the images.',
    });
  }
  const convert = conversion(input, name);
  const fixed = typeof input.shape[0] === 'number' && input.shape[0] > 0 ? input.shape[0] : undefined;
  return function* (batch) {
    const [images] = batch.shape;
    const shape = fittedShape(input, batch, name);
    const size = batch.images.length / Math.max(1, images);
    const step = fixed ?? images;
    for (let at = 0; at < images; at += step) {
      const count = Math.min(step, images - at);
      const data = convert(filled(batch.images.subarray(at * size, (at + count) * size), step * size, size));
      const tensor = { type: input.type, shape: [step, ...shape], data } as RuntimeTensor;
      yield { feeds: { [input.name]: tensor }, images: count };
    }
  };
}

/** The shape to feed, without the batch axis. */
function fittedShape(input: RuntimeValue, batch: ImageBatch, name: string): readonly number[] {
  const [images, ...given] = batch.shape;
  const size = given.reduce((product, length) => product * length, 1);
  if (images * size !== batch.images.length)
    throw new RangeError(`A batch [${batch.shape}] of ${batch.images.length} numbers`);
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
