import { stream } from '../util/random.ts';
import type { Split } from './dataset.ts';
import { defaultValidationFraction, type OpenOptions } from './source.ts';

/** Fixed, so that the held-out images do not depend on a run's seed and runs can be compared. */
const splitSeed = 0;

/** Images that lie in memory one after the other, `stride` bytes apart. */
export function memorySplit(
  pixels: Uint8Array,
  labels: Int32Array,
  shape: readonly [number, number, number],
  classes: readonly string[],
): Split {
  const [c, h, w] = shape;
  const bytes = c * h * w;
  return {
    size: labels.length,
    shape,
    classes,
    labels,
    image: index => pixels.subarray(index * bytes, (index + 1) * bytes),
  };
}

/** The images `indices` of a split, in that order. */
export const subset = (split: Split, indices: Int32Array): Split => ({
  ...split,
  size: indices.length,
  labels: indices.map(index => split.labels[index]),
  image: index => split.image(indices[index]),
});

/** Several splits of the same shape as one. */
export function concatenate(parts: readonly Split[]): Split {
  if (parts.length === 1) return parts[0];
  const starts: number[] = [];
  let size = 0;
  for (const part of parts) {
    starts.push(size);
    size += part.size;
  }
  const labels = new Int32Array(size);
  parts.forEach((part, i) => {
    labels.set(part.labels, starts[i]);
  });
  return {
    ...parts[0],
    size,
    labels,
    image: index => {
      let part = starts.length - 1;
      while (starts[part] > index) part--;
      return parts[part].image(index - starts[part]);
    },
  };
}

/**
 * Which images are held out: of every class its share, rounded, as the last ones of a fixed permutation; no class loses
 * its last image. Where classes are so small that no share rounds to an image, each that has two or more gives one.
 * @returns indices in rising order
 */
export function holdOut(labels: Int32Array, fraction: number): { rest: Int32Array; held: Int32Array } {
  const byClass = new Map<number, number[]>();
  for (const index of stream(splitSeed, 'held out').permutation(labels.length)) {
    const list = byClass.get(labels[index]);
    if (list) list.push(index);
    else byClass.set(labels[index], [index]);
  }
  const classes = [...byClass.values()];
  const tiny = classes.every(list => Math.round(list.length * fraction) === 0);
  const kept = (list: readonly number[]) => Math.max(1, list.length - (tiny ? 1 : Math.round(list.length * fraction)));
  return {
    rest: Int32Array.from(classes.flatMap(list => list.slice(0, kept(list)))).sort(),
    held: Int32Array.from(classes.flatMap(list => list.slice(kept(list)))).sort(),
  };
}

/**
 * A training set as training and validation split. When every class has a single image none can be held out: then the
 * validation split is the training set, and the user is told.
 */
export function withValidation(all: Split, options: OpenOptions): { train: Split; validation: Split } {
  const { rest, held } = holdOut(all.labels, options.validationFraction ?? defaultValidationFraction);
  if (held.length > 0) return { train: subset(all, rest), validation: subset(all, held) };
  options.say?.('No training image can be held out (one image per class): choices are made on the training images.');
  return { train: all, validation: all };
}
