import { type Random, stream } from '../util/random.ts';
import { augment } from './augment.ts';
import type { Augmentation, Batch, Preprocessing, Split } from './dataset.ts';
import { compilePreprocessing, labelMap } from './preprocessor.ts';

export interface TrainLoaderOptions {
  /** Images a step, of one rank. */
  readonly batch: number;
  readonly seed: number;
  readonly preprocessing: Preprocessing;
  readonly augmentation: Augmentation;
  /** Data parallel training: this process takes every `ranks`-th batch, from number `rank` on. */
  readonly rank?: number;
  readonly ranks?: number;
}

export interface TrainLoader {
  readonly stepsPerEpoch: number;
  /** Images a step: the batch asked for, or the whole training set where that is smaller. */
  readonly batch: number;
  /** Images that an epoch leaves out (others each epoch), since they fill no batch. */
  readonly dropped: number;
  /**
   * The batch of a step, counted from 0 over all epochs. Any order of asking gives the same batches, so a resumed run
   * needs nothing but the step. Its arrays are the caller's. A promise only where images have to be decoded; then the
   * images of the following step are decoded meanwhile.
   */
  at(step: number): Batch | Promise<Batch>;
}

/**
 * Shuffled training batches. Everything random is keyed: the order by (seed, epoch), the augmentation by
 * (seed, epoch, index of the image).
 */
export function trainLoader(split: Split, options: TrainLoaderOptions): TrainLoader {
  const { seed, augmentation, rank = 0, ranks = 1 } = options;
  const batch = Math.max(1, Math.min(options.batch, Math.floor(split.size / ranks)));
  const stepsPerEpoch = Math.max(1, Math.floor(split.size / (batch * ranks)));
  const assemble = assembler(split, options.preprocessing);
  const orders = new Map<number, Int32Array>();
  const orderOf = (epoch: number) => {
    let order = orders.get(epoch);
    if (!order) {
      order = stream(seed, 'order', epoch).permutation(split.size);
      // Two epochs are enough: the current one, and the next for images that are fetched ahead.
      if (orders.size === 2) orders.delete(orders.keys().next().value!);
      orders.set(epoch, order);
    }
    return order;
  };
  const indicesOf = (step: number) => {
    const start = ((step % stepsPerEpoch) * ranks + rank) * batch;
    return orderOf(Math.floor(step / stepsPerEpoch)).slice(start, start + batch);
  };
  const finish = (step: number, indices: Int32Array, images: readonly Uint8Array[]) => {
    const epoch = Math.floor(step / stepsPerEpoch);
    return assemble(indices, images, { augmentation, random: index => stream(seed, 'augment', epoch, index) });
  };
  let ahead: { step: number; indices: Int32Array; images: Uint8Array[] | Promise<Uint8Array[]> } | undefined;
  const fetchImages = (step: number) => {
    const indices = indicesOf(step);
    return { step, indices, images: imagesOf(split, indices) };
  };
  return {
    stepsPerEpoch,
    batch,
    dropped: split.size - stepsPerEpoch * batch * ranks,
    at(step) {
      const { indices, images } = ahead?.step === step ? ahead : fetchImages(step);
      if (!(images instanceof Promise)) return finish(step, indices, images);
      ahead = fetchImages(step + 1);
      // Should nobody ask for that step, its failure is nobody's either; who asks gets it from the promise itself.
      Promise.resolve(ahead.images).catch(() => {});
      return images.then(decoded => finish(step, indices, decoded));
    },
  };
}

/**
 * All images of a split in their order, without augmentation; the last batch is as long as what is left. The images of
 * the following batch are decoded while one is being used.
 */
export async function* evalBatches(
  split: Split,
  options: { readonly batch: number; readonly preprocessing: Preprocessing; readonly signal?: AbortSignal },
): AsyncGenerator<Batch> {
  const assemble = assembler(split, options.preprocessing);
  const fetchImages = (start: number) => {
    const indices = Int32Array.from({ length: Math.min(options.batch, split.size - start) }, (_, i) => start + i);
    return { indices, images: imagesOf(split, indices) };
  };
  if (split.size === 0) return;
  let next = fetchImages(0);
  for (let start = 0; start < split.size; start += options.batch) {
    options.signal?.throwIfAborted();
    const { indices, images } = next;
    const decoded = images instanceof Promise ? await images : images;
    if (start + options.batch < split.size) next = fetchImages(start + options.batch);
    Promise.resolve(next.images).catch(() => {});
    yield assemble(indices, decoded);
  }
}

/** A promise only if one of the images is. */
function imagesOf(split: Split, indices: Int32Array): Uint8Array[] | Promise<Uint8Array[]> {
  const images = Array.from(indices, index => split.image(index));
  return images.some(image => image instanceof Promise) ? Promise.all(images) : (images as Uint8Array[]);
}

/** Puts decoded images together to a batch. */
function assembler(split: Split, preprocessing: Preprocessing) {
  const preprocessor = compilePreprocessing(preprocessing, split.shape);
  const map = labelMap(split.classes, preprocessing.labelOrder);
  const stored = split.shape[0] * split.shape[1] * split.shape[2];
  const scratch = [new Uint8Array(stored), new Uint8Array(stored)] as const;
  return (
    indices: Int32Array,
    images: readonly Uint8Array[],
    varied?: { augmentation: Augmentation; random: (index: number) => Random },
  ): Batch => {
    const out = new Float32Array(indices.length * preprocessor.length);
    const labels = new Int32Array(indices.length);
    const changes = varied && isVaried(varied.augmentation);
    for (let i = 0; i < indices.length; i++) {
      const label = split.labels[indices[i]];
      labels[i] = map ? map[label] : label;
      const image = changes
        ? augment(images[i], split.shape, varied.random(indices[i]), varied.augmentation, scratch)
        : images[i];
      preprocessor.write(image, out, i * preprocessor.length);
    }
    return { images: out, shape: [indices.length, ...preprocessor.shape], labels, indices };
  };
}

const isVaried = ({ padCrop, flip, resizedCrop }: Augmentation) => padCrop > 0 || flip || resizedCrop < 1;
