/** Where one output coordinate reads: two neighbours and the weight of the second. */
interface Taps {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly weight: Float64Array;
}

/** Output coordinate i reads at (i + 0.5) · from / to − 0.5 (half-pixel centres), held inside the range. */
function taps(from: number, to: number, offset: number): Taps {
  const low = new Int32Array(to);
  const high = new Int32Array(to);
  const weight = new Float64Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const first = Math.min(Math.floor(at), from - 1);
    low[i] = offset + first;
    high[i] = offset + Math.min(first + 1, from - 1);
    weight[i] = at - first;
  }
  return { low, high, weight };
}

/** Source rows are interpolated sideways once each, and kept while two output rows in succession need them. */
function blend(
  image: Uint8Array,
  channels: number,
  width: number,
  rows: Taps,
  columns: Taps,
  plane: number,
  out: Uint8Array,
): Uint8Array {
  const outWidth = columns.low.length;
  let upper = new Float64Array(outWidth);
  let lower = new Float64Array(outWidth);
  for (let c = 0, at = 0; c < channels; c++) {
    let upperRow = -1;
    let lowerRow = -1;
    for (let y = 0; y < rows.low.length; y++) {
      if (rows.low[y] === lowerRow) {
        [upper, lower] = [lower, upper];
        [upperRow, lowerRow] = [lowerRow, upperRow];
      }
      if (rows.low[y] !== upperRow) sideways(image, c * plane + (upperRow = rows.low[y]) * width, columns, upper);
      if (rows.high[y] !== lowerRow) sideways(image, c * plane + (lowerRow = rows.high[y]) * width, columns, lower);
      const v = rows.weight[y];
      for (let x = 0; x < outWidth; x++) out[at++] = upper[x] + v * (lower[x] - upper[x]) + 0.5;
    }
  }
  return out;
}

/** One source row, which starts at `row`, at the output's columns. */
function sideways(image: Uint8Array, row: number, { low, high, weight }: Taps, out: Float64Array): void {
  for (let x = 0; x < out.length; x++) {
    const left = image[row + low[x]];
    out[x] = left + weight[x] * (image[row + high[x]] - left);
  }
}

/**
 * Bilinear resize of uint8 [C, H, W] images, with half-pixel centres and without antialiasing: what PyTorch's
 * `F.interpolate(x, size, mode='bilinear', align_corners=False)` gives, rounded to the nearest integer.
 * @param from [height, width]
 * @param to [height, width]
 * @returns a function that fills `out`, channels · to[0] · to[1] bytes, and returns it
 */
export function bilinear(
  from: readonly [number, number],
  to: readonly [number, number],
): (image: Uint8Array, channels: number, out: Uint8Array) => Uint8Array {
  const rows = taps(from[0], to[0], 0);
  const columns = taps(from[1], to[1], 0);
  const plane = from[0] * from[1];
  return (image, channels, out) => blend(image, channels, from[1], rows, columns, plane, out);
}

/** The same resize of a window of the image back to the whole image's size, as if the window had been cut out first. */
export function enlargeWindow(
  image: Uint8Array,
  [channels, height, width]: readonly [number, number, number],
  window: { readonly top: number; readonly left: number; readonly height: number; readonly width: number },
  out: Uint8Array,
): Uint8Array {
  const rows = taps(window.height, height, window.top);
  const columns = taps(window.width, width, window.left);
  return blend(image, channels, width, rows, columns, height * width, out);
}
