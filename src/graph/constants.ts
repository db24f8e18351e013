import { DataType, elementCount, floats, ints, isInteger, type OnnxTensor } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import type { Const, ValueType } from './operator.ts';

const real: ReadonlySet<number> = new Set([DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE, DataType.BFLOAT16]);

/** A tensor of the file as numbers; what stands for "to the end" is the safe extreme. */
export const constOf = (tensor: OnnxTensor): Const => ({
  elemType: tensor.dataType,
  dims: tensor.dims,
  values: isInteger(tensor.dataType) ? ints(tensor) : [...floats(tensor)],
});

/** A real tensor as numbers, which are decoded when they are asked for: graphs have many that nobody asks for. */
class RealConst implements Const {
  readonly elemType: number;
  readonly dims: readonly number[];
  readonly #tensor: OnnxTensor;
  #values: readonly number[] | null = null;

  constructor(tensor: OnnxTensor) {
    this.elemType = tensor.dataType;
    this.dims = tensor.dims;
    this.#tensor = tensor;
  }

  get values(): readonly number[] {
    return (this.#values ??= [...floats(this.#tensor)]);
  }
}

/** Most elements of whole numbers that are computed with, and most of real ones. */
const limits = { whole: 65_536, real: 64 };

/** Whether a value has few enough elements to be computed with, as far as its shape says. */
export function isSmall(type: ValueType | undefined): boolean {
  const elements = type?.shape?.reduce<number>(
    (product, dim) => (typeof dim === 'number' ? product * dim : product),
    1,
  );
  return (elements ?? 0) <= limits.whole;
}

/** A tensor as numbers if it is small enough to be computed with (shape vectors and indices, a few numbers), else null. */
export function smallConstOf(tensor: OnnxTensor): Const | null {
  const limit = isInteger(tensor.dataType) ? limits.whole : real.has(tensor.dataType) ? limits.real : -1;
  if (elementCount(tensor) > limit) return null;
  if (real.has(tensor.dataType) && tensor.data.storage === 'raw') return new RealConst(tensor);
  try {
    return constOf(tensor);
  } catch (error) {
    // Integers that no number holds are no lengths or indices.
    if (error instanceof UserError && error.code === 'E_TENSOR_DATA') return null;
    throw error;
  }
}

/** A vector of integers as a constant. */
export const intVector = (values: readonly (number | string)[]): Const => ({
  elemType: DataType.INT64,
  dims: [values.length],
  values,
});

/** Whether a type is one of real numbers. */
export const isReal = (elemType: number): boolean => real.has(elemType);
