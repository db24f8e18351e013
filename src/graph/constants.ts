import { DataType, elementCount, floats, ints, isInteger, type OnnxTensor } from '../onnx/index.ts';
import type { Const } from './operator.ts';

const real: ReadonlySet<number> = new Set([DataType.FLOAT, DataType.FLOAT16, DataType.DOUBLE, DataType.BFLOAT16]);

/** Whether a tensor is small enough to be computed with: shape vectors and indices, a few numbers. */
export const isSmall = (tensor: OnnxTensor): boolean =>
  elementCount(tensor) <= (isInteger(tensor.dataType) ? 65_536 : real.has(tensor.dataType) ? 64 : 0);

/** A small tensor of the file as numbers; what stands for "to the end" is the safe extreme. */
export const constOf = (tensor: OnnxTensor): Const => ({
  elemType: tensor.dataType,
  dims: tensor.dims,
  values: isInteger(tensor.dataType) ? ints(tensor) : [...floats(tensor)],
});

/** A vector of integers as a constant. */
export const intVector = (values: readonly (number | string)[]): Const => ({
  elemType: DataType.INT64,
  dims: [values.length],
  values,
});

/** Whether a type is one of real numbers. */
export const isReal = (elemType: number): boolean => real.has(elemType);
