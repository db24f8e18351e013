export { newScratch, type Scratch } from './aligned.ts';
export { type BuildDetail, GraphBuilder, type GraphBuilderOptions } from './build.ts';
export { bitsOf, byteSize, DataType, dataTypeBytes, dataTypeName, isInteger } from './data-type.ts';
export { gatherAxes, withDerived } from './derived.ts';
export { type ElementArray, floats, ints, strings, tensorOf, withFloats, withInts } from './elements.ts';
export type { OnnxGraph, OnnxModel } from './model.ts';
export {
  type AttributeInput,
  type AttributeValue,
  attribute,
  attributesOf,
  changeNode,
  Float,
  float,
  makeNode,
  type NodeDetail,
  withAttributes,
} from './node.ts';
export type { AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto } from './onnx_pb.ts';
export { parseModel, readModel } from './read.ts';
export {
  type ByteSource,
  bytesOf,
  elementCount,
  type OnnxTensor,
  protoFromTensor,
  storedLength,
  type TensorData,
  tensorFromProto,
  withData,
  withName,
} from './tensor.ts';
export { type Dimension, elemTypeOf, shapeOf, valueInfo, withShape } from './value-info.ts';
export { encodeModel, type WriteOptions, writeModel } from './write.ts';
