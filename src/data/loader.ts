import { stream } from '../util/random.ts';
import { type Assembly, assembler } from './assemble.ts';
import { type AssemblyThread, assemblyThread } from './assembly-thread.ts';
import type { Augmentation, Batch, Preprocessing, Split } from './dataset.ts';
import { labelMap } from './preprocessor.ts';

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
   * needs nothing but the step. Its arrays are the caller's. A promise where images have to be decoded or a thread
   * assembles them; then the following steps' batches are made meanwhile.
   */
  at(step: number): Batch | Promise<Batch>;
  /** End the thread, if there is one. */
  close(): void;
}

/** From so many numbers a batch on, a thread assembles it: they take about 5 ms, and the exchange with it about one. */
const threadFrom = 2e6;

/**
 * Shuffled training batches. Everything random is keyed: the order by (seed, epoch), the augmentation by
 * (seed, epoch, index of the image).
 */
export function trainLoader(split: Split, options: TrainLoaderOptions): TrainLoader {
  const { seed, augmentation, preprocessing, rank = 0, ranks = 1 } = options;
  const batch = Math.max(1, Math.min(options.batch, Math.floor(split.size / ranks)));
  const stepsPerEpoch = Math.max(1, Math.floor(split.size / (batch * ranks)));
  const assembly: Assembly = {
    stored: split.shape,
    preprocessing,
    varied: isVaried(augmentation) ? { augmentation, seed } : null,
  };
  const assemble = assembler(assembly);
  const labelsOf = labelling(split, preprocessing);
  const isLarge = batch * assemble.shape.reduce((a, b) => a * b) >= threadFrom;
  let thread: AssemblyThread | undefined;
  const orders = new Map<number, Int32Array>();
  const orderOf = (epoch: number) => {
    let order = orders.get(epoch);
    if (!order) {
      order = stream(seed, 'order', epoch).permutation(split.size);
      // Two epochs are enough: the current one, and the next for batches that are made ahead.
      if (orders.size === 2) orders.delete(orders.keys().next().value!);
      orders.set(epoch, order);
    }
    return order;
  };
  const make = (step: number): Batch | Promise<Batch> => {
    const epoch = Math.floor(step / stepsPerEpoch);
    const start = ((step % stepsPerEpoch) * ranks + rank) * batch;
    const indices = orderOf(epoch).slice(start, start + batch);
    const finish = (images: Float32Array): Batch => ({
      images,
      shape: [indices.length, ...assemble.shape],
      labels: labelsOf(indices),
      indices,
    });
    const stored = imagesOf(split, indices);
    if (isLarge) {
      thread ??= assemblyThread(assembly);
      const { assemble } = thread;
      return Promise.resolve(stored)
        .then(images => assemble(epoch, indices, images))
        .then(finish);
    }
    return stored instanceof Promise
      ? stored.then(images => finish(assemble(epoch, indices, images)))
      : finish(assemble(epoch, indices, stored));
  };
  // While a step keeps the main thread, one batch is decoded and, where a thread does it, the one before it assembled.
  const depth = isLarge ? 2 : 1;
  const ahead = new Map<number, Promise<Batch>>();
  const start = (step: number) => {
    const made = make(step);
    if (!(made instanceof Promise)) return made;
    // Should nobody ask for that step, its failure is nobody's either; who asks gets it from the promise itself.
    made.catch(() => {});
    ahead.set(step, made);
    return made;
  };
  return {
    stepsPerEpoch,
    batch,
    dropped: split.size - stepsPerEpoch * batch * ranks,
    at(step) {
      for (const other of ahead.keys()) if (other < step || other > step + depth) ahead.delete(other);
      const asked = ahead.get(step) ?? start(step);
      ahead.delete(step);
      for (let next = step + 1; asked instanceof Promise && next <= step + depth; next++) {
        if (!ahead.has(next)) start(next);
      }
      return asked;
    },
    close() {
      thread?.close();
      thread = undefined;
      ahead.clear();
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
  const assemble = assembler({ stored: split.shape, preprocessing: options.preprocessing, varied: null });
  const labelsOf = labelling(split, options.preprocessing);
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
    yield {
      images: assemble(0, indices, decoded),
      shape: [indices.length, ...assemble.shape],
      labels: labelsOf(indices),
      indices,
    };
  }
}

/** A promise only if one of the images is. */
function imagesOf(split: Split, indices: Int32Array): Uint8Array[] | Promise<Uint8Array[]> {
  const images = Array.from(indices, index => split.image(index));
  return images.some(image => image instanceof Promise) ? Promise.all(images) : (images as Uint8Array[]);
}

/** Labels of images in the order of the network's outputs. */
function labelling(split: Split, { labelOrder }: Preprocessing): (indices: Int32Array) => Int32Array {
  const map = labelMap(split.classes, labelOrder);
  return indices => indices.map(index => (map ? map[split.labels[index]] : split.labels[index]));
}

const isVaried = ({ padCrop, flip, resizedCrop }: Augmentation) => padCrop > 0 || flip || resizedCrop < 1;
