import { create } from '@bufbuild/protobuf';
import {
  type TensorShapeProto_Dimension,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  type TypeProto_SparseTensor,
  type TypeProto_Tensor,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './onnx_pb.ts';
import { changeMessage } from './visit.ts';

/** A length, a symbol, or null for an unknown length. */
export type Dimension = number | string | null;

const dimension = (dim: Dimension): TensorShapeProto_Dimension =>
  create(TensorShapeProto_DimensionSchema, {
    value:
      typeof dim === 'number'
        ? { case: 'dimValue', value: BigInt(dim) }
        : dim === null
          ? { case: undefined }
          : { case: 'dimParam', value: dim },
  });

/**
 * The declaration of a tensor value.
 * @param shape null: not even the number of axes is known
 */
export function valueInfo(name: string, elemType: number, shape: readonly Dimension[] | null): ValueInfoProto {
  const value = create(TypeProto_TensorSchema, {
    elemType,
    shape: shape ? create(TensorShapeProtoSchema, { dim: shape.map(dimension) }) : undefined,
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  });
}

function tensorType(info: ValueInfoProto): TypeProto_Tensor | TypeProto_SparseTensor | null {
  const value = info.type?.value;
  return value?.case === 'tensorType' || value?.case === 'sparseTensorType' ? value.value : null;
}

/**
 * The declared shape; null when none is declared or the value is no tensor (a sequence, say). Lengths that are missing,
 * unnamed or negative (some exporters write -1 for dynamic) are null.
 */
export function shapeOf(info: ValueInfoProto): Dimension[] | null {
  const shape = tensorType(info)?.shape;
  return shape ? shape.dim.map(dimensionOf) : null;
}

function dimensionOf({ value }: TensorShapeProto_Dimension): Dimension {
  if (value.case === 'dimValue') return value.value < 0n ? null : Number(value.value);
  return (value.case === 'dimParam' && value.value) || null;
}

/** The declared element type (a DataType); 0 when none is declared or the value is no tensor. */
export const elemTypeOf = (info: ValueInfoProto): number => tensorType(info)?.elemType ?? 0;

/**
 * The declaration with another shape. Axes whose length does not change keep everything that is said about them
 * (denotations, unknown fields); a value that is no tensor stays as it is.
 */
export function withShape(info: ValueInfoProto, shape: readonly Dimension[]): ValueInfoProto {
  const value = info.type?.value;
  if (!info.type || (value?.case !== 'tensorType' && value?.case !== 'sparseTensorType')) return info;
  const before = value.value.shape;
  const dim = shape.map((length, axis) => {
    const old = before?.dim[axis];
    if (!old) return dimension(length);
    return dimensionOf(old) === length ? old : changeMessage(old, { value: dimension(length).value });
  });
  const newShape = changeMessage(before ?? create(TensorShapeProtoSchema), { dim });
  const newValue = { case: value.case, value: changeMessage(value.value, { shape: newShape }) } as typeof value;
  return changeMessage(info, { type: changeMessage(info.type, { value: newValue }) });
}
