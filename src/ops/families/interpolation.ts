/** How one axis is resized, as https://onnx.ai/onnx/operators/onnx__Resize.html says. */
export interface ResizedAxis {
  readonly axis: number;
  /** Lengths before and after. */
  readonly from: number;
  readonly to: number;
  /** to / from, or what the file has in its place. */
  readonly scale: number;
  /** The part of the axis that is resized, for `tf_crop_and_resize`. */
  readonly start: number;
  readonly end: number;
}

export interface Interpolation {
  readonly mode: string;
  /** Where a place of the output lies in the input. */
  readonly coordinates: string;
  readonly nearest: string;
  readonly cubic: number;
  readonly excludeOutside: boolean;
  readonly antialias: boolean;
}

const f = Math.fround;

/** The place in the input of every place of the output, in float32 as ONNX Runtime computes it. */
export function places({ from, to, scale, start, end }: ResizedAxis, coordinates: string): number[] {
  const halfPixel = (x: number) => f(f(f(x + 0.5) / scale) - 0.5);
  const at = (x: number): number => {
    switch (coordinates) {
      case 'asymmetric':
        return f(x / scale);
      case 'align_corners':
        return to === 1 ? 0 : f(f(x * (from - 1)) / (to - 1));
      case 'pytorch_half_pixel':
        return to === 1 ? 0 : halfPixel(x);
      case 'tf_half_pixel_for_nn':
        return f(f(x + 0.5) / scale);
      case 'half_pixel_symmetric':
        return f(f((from / 2) * (1 - to / (scale * from))) + halfPixel(x));
      case 'tf_crop_and_resize':
        return to === 1
          ? f(0.5 * f(f(start + end) * (from - 1)))
          : f(f(start * (from - 1)) + f(f(x * f(end - start) * (from - 1)) / (to - 1)));
      default:
        return halfPixel(x);
    }
  };
  return Array.from({ length: to }, (_, x) => at(x));
}

/** Which places lie outside the input. */
export const isOutside = ({ from }: ResizedAxis, at: number): boolean => at < 0 || at > from - 1;

/** The input's index for every place. */
export function nearestIndices(resized: ResizedAxis, { coordinates, nearest }: Interpolation): number[] {
  const { from, scale } = resized;
  const round = (x: number): number => {
    switch (nearest) {
      case 'simple':
        return scale < 1 ? Math.ceil(x) : Math.trunc(x);
      case 'floor':
        return Math.floor(x);
      case 'ceil':
        return Math.ceil(x);
      case 'round_prefer_ceil':
        return Math.floor(x + 0.5);
      default:
        return Math.ceil(x - 0.5);
    }
  };
  return places(resized, coordinates).map(x => Math.min(from - 1, Math.max(0, round(x))));
}

const triangle = (x: number): number => Math.max(0, 1 - Math.abs(x));

/** Keys' kernel. */
const cubicKernel =
  (a: number) =>
  (x: number): number => {
    const d = Math.abs(x);
    if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
  };

/** What every place takes of the input, a matrix [to, from]; what would lie outside is taken at the border. */
export function interpolationMatrix(resized: ResizedAxis, how: Interpolation): Float32Array {
  const { from, to, scale } = resized;
  const [kernel, support] = how.mode === 'cubic' ? [cubicKernel(how.cubic), 2] : [triangle, 1];
  // Where it shrinks, the kernel is as much wider.
  const stretch = how.antialias ? Math.min(1, scale) : 1;
  const matrix = new Float32Array(to * from);
  places(resized, how.coordinates).forEach((x, row) => {
    const [first, last] = [Math.ceil(x - support / stretch), Math.floor(x + support / stretch)];
    const taken = Array.from({ length: last - first + 1 }, (_, i) => {
      const index = first + i;
      const inside = index >= 0 && index < from;
      const value = inside || !how.excludeOutside ? kernel((index - x) * stretch) : 0;
      return [Math.min(from - 1, Math.max(0, index)), value] as const;
    });
    const sum = taken.reduce((total, [, value]) => total + value, 0) || 1;
    for (const [index, value] of taken) matrix[row * from + index] += value / sum;
  });
  return matrix;
}
