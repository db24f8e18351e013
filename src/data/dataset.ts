/** One image data set, decoded lazily: no engine, typed arrays out. */
export interface Dataset {
  /** As on the command line: `mnist`, `cifar100`, or the folder's name. */
  readonly name: string;
  readonly classes: readonly string[];
  /** [channels, height, width] of the images as stored; image folders have the size asked for. */
  readonly shape: readonly [number, number, number];
  readonly train: Split;
  /** Held out of the training set: steers every choice. */
  readonly validation: Split;
  /** Only for the last line of the report. */
  readonly test: Split;
  /** Per channel, of the training set scaled to 0..1. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** How images are varied in training when the user says nothing. */
  readonly augmentation: Augmentation;
  /** SHA-256 over everything that was read (file names, sizes, content or modification times): changed data is seen on resume. */
  readonly fingerprint: string;
  /** Broken images that were skipped, by name. */
  readonly skipped: readonly string[];
}

export interface Split {
  readonly size: number;
  /** [channels, height, width] of the images as stored. */
  readonly shape: readonly [number, number, number];
  readonly classes: readonly string[];
  /** Class index of every image. */
  readonly labels: Int32Array;
  /** Pixels of image `index` as stored, uint8, [C, H, W], RGB. A view: do not change it. May be a promise (image folders). */
  image(index: number): Uint8Array | Promise<Uint8Array>;
}

/** Training-time variation, applied on the uint8 image before normalisation. */
export interface Augmentation {
  /** Zero padding before a random crop back to the original size; 0: none. */
  readonly padCrop: number;
  readonly flip: boolean;
  /** Random resized crop: the least share of the area; 1: none. */
  readonly resizedCrop: number;
}

/** What the network expects: part of its contract, recorded in the run and in the file that is handed back. */
export interface Preprocessing {
  /** [height, width] fed to the network; null: as stored. */
  readonly size: readonly [number, number] | null;
  /** Pixels are multiplied by it first: 1/255, or 1 for raw pixels. */
  readonly scale: number;
  /** Subtracted after scaling, per channel as the network sees it. */
  readonly mean: readonly number[];
  /** Divided by, per channel as the network sees it. */
  readonly std: readonly number[];
  readonly color: 'rgb' | 'bgr' | 'gray';
  readonly layout: 'nchw' | 'nhwc';
  /** Class names in the order of the network's outputs; null: the data set's order. */
  readonly labelOrder: readonly string[] | null;
}

export interface Batch {
  /** [N, C, H, W] (or [N, H, W, C]), float32, preprocessed. */
  readonly images: Float32Array;
  readonly shape: readonly number[];
  /** [N] class indices in the order of the network's outputs. */
  readonly labels: Int32Array;
  /** Which images of the split. */
  readonly indices: Int32Array;
}
