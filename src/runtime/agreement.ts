import { fromHalf } from '../onnx/half.ts';
import type { RuntimeTensor, RuntimeType } from './session.ts';

/** How two computations of one value differ. */
export interface Agreement {
  /** Largest |a - b|; infinite where one is no number and the other is, or where lengths differ. */
  readonly maxAbsError: number;
  /** maxAbsError / scale. */
  readonly maxRelError: number;
  /** max |a| over the finite elements, at least 1e-6 or what was asked for. */
  readonly scale: number;
  /** Of how many rows (entries of the first axis) the largest element is at the same place. */
  readonly sameArgmax: number;
  readonly rows: number;
  /** Elements of `a` that are infinite or no number, and all elements. */
  readonly notFinite: number;
  readonly elements: number;
}

/** An output's scale is at least this, so that outputs of zeros have one. */
const smallestScale = 1e-6;

/** max |a| over the finite elements, at least 1e-6. */
export function scaleOf(tensor: RuntimeTensor): number {
  const values = numbersOf(tensor);
  let scale = smallestScale;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > scale && size < Number.POSITIVE_INFINITY) scale = size;
  }
  return scale;
}

/**
 * Compare a tensor with a reference element by element. Equal infinities and equal NaNs agree.
 * @param leastScale what the scale is at least
 */
export function agreementOf(reference: RuntimeTensor, other: RuntimeTensor, leastScale = 0): Agreement {
  const [a, b] = [numbersOf(reference), numbersOf(other)];
  const comparable =
    reference.type === other.type && reference.shape.join() === other.shape.join() && a.length === b.length;
  let maxAbsError = comparable ? 0 : Number.POSITIVE_INFINITY;
  let notFinite = 0;
  for (let i = 0; i < a.length; i++) {
    const error = Object.is(a[i], b[i]) || a[i] === b[i] ? 0 : Math.abs(a[i] - b[i]);
    if (!(error <= maxAbsError)) maxAbsError = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    if (!Number.isFinite(a[i])) notFinite++;
  }
  const scale = Math.max(scaleOf(reference), leastScale);
  const rows = reference.shape.length > 0 ? reference.shape[0] : 1;
  const length = rows > 0 ? a.length / rows : 0;
  let sameArgmax = 0;
  for (let row = 0; comparable && row < rows; row++) {
    if (argmax(a, row * length, length) === argmax(b, row * length, length)) sameArgmax++;
  }
  return { maxAbsError, maxRelError: maxAbsError / scale, scale, sameArgmax, rows, notFinite, elements: a.length };
}

/** The first of equals. */
function argmax(values: ArrayLike<number>, from: number, length: number): number {
  let best = from;
  for (let i = from + 1; i < from + length; i++) if (values[i] > values[best]) best = i;
  return best - from;
}

/** Elements as numbers; packed and textual types by code. */
function numbersOf({ type, data }: RuntimeTensor): ArrayLike<number> {
  if (type === 'float16') return Float32Array.from(data as Uint16Array, fromHalf);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array)
    return Float64Array.from(data as BigInt64Array, Number);
  if (type === 'string') return Float64Array.from((data as string[]).flatMap(text => [...Buffer.from(text), -1]));
  return data as Float32Array;
}

/** Some positions along axes of a tensor; `null` along an axis: all. */
export function selectFrom(tensor: RuntimeTensor, indices: readonly (readonly number[] | null)[]): RuntimeTensor {
  return indices.reduce((selected, left, axis) => (left ? selectAxis(selected, axis, left) : selected), tensor);
}

function selectAxis(tensor: RuntimeTensor, axis: number, left: readonly number[]): RuntimeTensor {
  const { type, shape } = tensor;
  const data = tensor.data as Float32Array;
  const inner = shape.slice(axis + 1).reduce((product, length) => product * length, 1);
  const outer = shape.slice(0, axis).reduce((product, length) => product * length, 1);
  const selected = data.slice(0, outer * left.length * inner);
  let to = 0;
  for (let block = 0; block < outer; block++) {
    for (const index of left) {
      const from = (block * shape[axis] + index) * inner;
      for (let i = 0; i < inner; i++) selected[to++] = data[from + i];
    }
  }
  return {
    type,
    shape: shape.map((length, a) => (a === axis ? left.length : length)),
    data: selected,
  } as RuntimeTensor;
}

/** Types whose numbers are rounded; all others have to agree exactly. */
export const isRounded = (type: RuntimeType): type is 'float32' | 'float64' | 'float16' =>
  type === 'float32' || type === 'float64' || type === 'float16';
