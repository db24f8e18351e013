import type { Certificate } from '../runtime/certificate.ts';
import type { Gap } from '../train/evaluation.ts';
import { shareError, wilsonInterval } from '../util/stats.ts';

/** Right answers out of how many, with the share's standard error and interval at 95 % (both after Wilson). */
export interface Accuracy {
  readonly accuracy: number;
  readonly correct: number;
  readonly images: number;
  readonly standardError: number;
  readonly interval: readonly [number, number];
}

export const accuracyOf = (correct: number, images: number): Accuracy => ({
  accuracy: correct / images,
  correct,
  images,
  standardError: shareError(correct, images),
  interval: wilsonInterval(correct, images),
});

/** A cost before and after. */
export interface CostChange {
  readonly before: number;
  readonly after: number;
  /** after / before */
  readonly ratio: number;
}

/** `result.json` of a pruning run. */
export interface PruneResult {
  readonly format: 's2h-result/1';
  readonly model: string;
  readonly data: string;
  readonly method: string;
  /** The start was a trained file. */
  readonly trainedStart: boolean;
  readonly directory: string;
  readonly budget: { readonly resource: 'macs' | 'params' | 'size'; readonly value: number; readonly fraction: number };
  readonly macs: CostChange;
  readonly params: CostChange;
  readonly bytes: CostChange;
  /**
   * On the test images. dense: the network that the run started from, by ONNX Runtime; soft and hard: the two views
   * under the training engine; cut: the network at the moment it was cut, before it was trained alone, by ONNX Runtime;
   * onnx: the file that is handed back, by ONNX Runtime. Absent: there is none.
   * With `--labels none`: agreement with the original's answers.
   */
  readonly accuracy: {
    readonly measure: 'labels' | 'agreement with the original';
    readonly dense: Accuracy | null;
    readonly soft?: Accuracy;
    readonly cut?: Accuracy;
    readonly hard: Accuracy;
    readonly onnx: Accuracy;
  };
  /** Test images whose answer differs between the pruned file and what it is compared with; null: nothing to compare with. */
  readonly changed: {
    readonly against: 'start' | 'soft';
    readonly images: number;
    readonly of: number;
    readonly worstClasses: readonly {
      readonly name: string;
      readonly before: number;
      readonly after: number;
      readonly images: number;
    }[];
  } | null;
  readonly gap: Gap | null;
  /** Test images that pruned.onnx, by ONNX Runtime, answers otherwise than the hard network under the training engine. */
  readonly engine: { readonly differing: number; readonly images: number };
  readonly widths: readonly { readonly group: string; readonly size: number; readonly kept: number }[];
  /** Constants that were trained, and those that could not be. */
  readonly trained: { readonly tensors: number; readonly frozen: readonly string[] };
  /**
   * The normalisation that a file without any got for training: behind how many convolutions, and how far the outputs
   * were from the file's before the first step, as a share of their size; null: none.
   */
  readonly renormalised: {
    readonly convolutions: number;
    readonly differs: { readonly evaluation: number; readonly training: number };
  } | null;
  readonly certificate: Certificate;
  readonly latency: readonly {
    readonly batch: number;
    readonly threads: number;
    readonly before: number | null;
    readonly after: number | null;
    readonly speedup: number | null;
    readonly notRun?: string;
  }[];
  readonly steps: number;
  readonly epochs: number;
  readonly imagesPerSecond: number;
  readonly seconds: number;
  readonly seed: number;
  readonly threads: number;
  readonly threadsWhy: string;
  /** What convolutions and products of the training steps were computed in. */
  readonly precision: 'float32' | 'bfloat16';
  readonly skippedImages: readonly string[];
  readonly droppedImages: number;
  readonly notes: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly command: string;
}
