import { stream } from '../util/random.ts';
import { augment } from './augment.ts';
import type { Augmentation, Preprocessing } from './dataset.ts';
import { compilePreprocessing } from './preprocessor.ts';

/** What turns stored images into a network's input; plain data, so that it can be handed to a thread. */
export interface Assembly {
  /** [channels, height, width] of the images as stored. */
  readonly stored: readonly [number, number, number];
  readonly preprocessing: Preprocessing;
  /** null: images as they are. */
  readonly varied: { readonly augmentation: Augmentation; readonly seed: number } | null;
}

export interface Assembler {
  /** Of one image as the network sees it. */
  readonly shape: readonly [number, number, number];
  /**
   * Augment and preprocess a batch. The augmentation is keyed by (seed, epoch, index of the image).
   * @returns float32, the images one after the other
   */
  (epoch: number, indices: Int32Array, images: readonly Uint8Array[]): Float32Array<ArrayBuffer>;
}

/** Ready an assembly for batches. @throws UserError E_PREPROCESSING when the preprocessing contradicts itself */
export function assembler({ stored, preprocessing, varied }: Assembly): Assembler {
  const preprocessor = compilePreprocessing(preprocessing, stored);
  const bytes = stored[0] * stored[1] * stored[2];
  const scratch = [new Uint8Array(bytes), new Uint8Array(bytes)] as const;
  const assemble = (epoch: number, indices: Int32Array, images: readonly Uint8Array[]) => {
    const out = new Float32Array(indices.length * preprocessor.length);
    images.forEach((image, i) => {
      const shown = varied
        ? augment(image, stored, stream(varied.seed, 'augment', epoch, indices[i]), varied.augmentation, scratch)
        : image;
      preprocessor.write(shown, out, i * preprocessor.length);
    });
    return out;
  };
  return Object.assign(assemble, { shape: preprocessor.shape });
}
