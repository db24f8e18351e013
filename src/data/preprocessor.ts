import { UserError } from '../util/errors.ts';
import type { Preprocessing } from './dataset.ts';
import { bilinear } from './resize.ts';

/** A {@link Preprocessing} made ready for the images of one data set. */
export interface Preprocessor {
  /** Of one image as the network sees it: [C, H, W], or [H, W, C]. */
  readonly shape: readonly [number, number, number];
  /** Numbers in one image. */
  readonly length: number;
  /** Preprocess one stored image (uint8 [C, H, W]) into `out`, from index `at` on. */
  write(image: Uint8Array, out: Float32Array, at: number): void;
}

/**
 * Tables and buffers for the images of a data set. The steps: bilinear resize (`bilinear`), colours, then
 * (pixel · scale − mean) / std through a table of 256 entries per channel, rounded to float32 once.
 * Grey out of colour is ITU-R 601 luma in Pillow's integers; colour out of grey repeats the channel.
 * @param stored [channels, height, width] of the stored images
 * @throws UserError E_PREPROCESSING when colours, mean and std do not fit together
 */
export function compilePreprocessing(p: Preprocessing, stored: readonly [number, number, number]): Preprocessor {
  const [channels, height, width] = stored;
  const [h, w] = p.size ?? [height, width];
  const seen = p.color === 'gray' ? 1 : 3;
  if (p.mean.length !== seen || p.std.length !== seen) throw channelMismatch(p, seen);
  const tables = p.mean.map((mean, k) => Float32Array.from({ length: 256 }, (_, v) => (v * p.scale - mean) / p.std[k]));
  const plane = h * w;
  const resize = h === height && w === width ? null : bilinear([height, width], [h, w]);
  const resized = new Uint8Array(resize ? channels * plane : 0);
  const luma = new Uint8Array(seen < channels ? plane : 0);
  const source = p.color === 'bgr' ? [2, 1, 0] : [0, 1, 2];
  const [step, start] = p.layout === 'nchw' ? [1, plane] : [seen, 1];
  return {
    shape: p.layout === 'nchw' ? [seen, h, w] : [h, w, seen],
    length: seen * plane,
    write(image, out, at) {
      const sized = resize ? resize(image, channels, resized) : image;
      const pixels = seen < channels ? toLuma(sized, luma) : sized;
      for (let k = 0; k < seen; k++) {
        const table = tables[k];
        const from = seen === channels ? source[k] * plane : 0;
        let to = at + k * start;
        for (let i = from; i < from + plane; i++, to += step) out[to] = table[pixels[i]];
      }
    },
  };
}

/** Pillow's convert('L'): (19595 R + 38470 G + 7471 B + 2^15) / 2^16. */
function toLuma(image: Uint8Array, out: Uint8Array): Uint8Array {
  const plane = out.length;
  for (let i = 0; i < plane; i++) {
    out[i] = (19595 * image[i] + 38470 * image[plane + i] + 7471 * image[2 * plane + i] + 0x8000) >> 16;
  }
  return out;
}

const channelMismatch = (p: Preprocessing, channels: number) =>
  new UserError(
    'E_PREPROCESSING',
    `Colour '${p.color}' has ${channels} channels, but there are ${p.mean.length} means and ${p.std.length} deviations.`,
    { fix: `Give one number, or ${channels}, to --mean and --std.` },
  );

/**
 * Where each class of a data set stands among the network's outputs.
 * @param order class names in the order of the outputs; null: the data set's own order
 * @returns null when nothing moves
 * @throws UserError E_LABEL_ORDER naming both counts, or the names that one side lacks
 */
export function labelMap(classes: readonly string[], order: readonly string[] | null): Int32Array | null {
  if (order === null) return null;
  if (order.length !== classes.length) {
    throw new UserError(
      'E_LABEL_ORDER',
      `The label order has ${order.length} names, the data set ${classes.length} classes.`,
      { fix: 'It needs each class of the data set once, one a line, in the order of the outputs.' },
    );
  }
  const position = new Map(order.map((name, i) => [name, i]));
  const missing = classes.filter(name => !position.has(name));
  if (missing.length > 0 || position.size !== order.length) {
    const extra = order.filter((name, i) => !classes.includes(name) || position.get(name) !== i);
    throw new UserError(
      'E_LABEL_ORDER',
      `The label order lacks ${some(missing)} of the data set, and has ${some(extra)} instead.`,
      { fix: 'It needs each class of the data set once, spelt as there.' },
    );
  }
  const map = Int32Array.from(classes, name => position.get(name)!);
  return map.every((to, from) => to === from) ? null : map;
}

const some = (names: readonly string[]) =>
  names
    .slice(0, 5)
    .map(name => `'${name}'`)
    .join(', ') + (names.length > 5 ? ` and ${names.length - 5} more` : '');
