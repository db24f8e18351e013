import { basename } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { externalRange, readExternal } from './external-data.ts';
import type { OnnxModel } from './model.ts';
import {
  FunctionProtoSchema,
  SparseTensorProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TrainingInfoProtoSchema,
} from './onnx_pb.ts';
import { graphField, modelField } from './origin.ts';
import { decodeMessage } from './read-node.ts';
import { contentLength, type OnnxTensor, protoFromTensor, tensorError, tensorFromProto } from './tensor.ts';
import { changeMessage, mapGraphTensors, mapNodeTensors, mapSparse } from './visit.ts';
import { bytesField, join, type SourceFile, type WireField } from './wire.ts';

/** A model whose external tensors point into one new data file, and that file's contents. */
export interface MovedModel {
  readonly model: OnnxModel;
  readonly dataPath: string;
  readonly data: readonly Uint8Array[];
}

/**
 * Lay out the data file for a model that is to be written to `path`: every range once, in the order of first use,
 * offsets aligned to 64 bytes (4096 for tensors of 1 MiB and more, so that they can be mapped). Reads all of it.
 * @param threshold raw initializers of at least so many bytes become external
 * @throws UserError E_EXTERNAL_DATA, E_TENSOR_DATA
 */
export function moveExternal(model: OnnxModel, path: string, threshold: number): MovedModel {
  const dataPath = `${path}.data`;
  const layout = new Layout(basename(dataPath));
  const moveProto = (proto: TensorProto): TensorProto => {
    if (proto.dataLocation !== TensorProto_DataLocation.EXTERNAL) return proto;
    const tensor = tensorFromProto(proto, model.path);
    const moved = layout.move(tensor);
    return moved === tensor ? proto : protoFromTensor(moved);
  };
  const { graph, origin } = model;
  const file = origin?.file ?? { base: 0 };
  const initializers = mapSame(graph.initializers, tensor => {
    const { data } = tensor;
    if (data.storage === 'external') return layout.move(tensor);
    if (data.storage !== 'raw' || data.bytes.byteLength < threshold) return tensor;
    const entries = new Map<string, string>();
    return layout.move({ ...tensor, data: { storage: 'external', entries, files: null, bytes: data.bytes } });
  });
  const nodes = mapSame(graph.nodes, node => mapNodeTensors(node, moveProto));
  const graphOrigin = graph.origin && mapSame(graph.origin, field => moveInSparse(field, file, moveProto));
  const fields = origin && mapSame(origin.fields, field => moveInModelField(field, file, moveProto));
  const sameGraph = initializers === graph.initializers && nodes === graph.nodes && graphOrigin === graph.origin;
  const moved: OnnxModel = {
    ...model,
    graph: sameGraph ? graph : { ...graph, initializers, nodes, origin: graphOrigin },
    origin: origin && fields && { ...origin, fields },
  };
  return { model: moved, dataPath, data: layout.chunks };
}

/** The list with every element mapped; the same list when none changed. */
function mapSame<T>(list: readonly T[], change: (item: T) => T): readonly T[] {
  const changed = list.map(change);
  return changed.some((item, i) => item !== list[i]) ? changed : list;
}

/** A length-delimited field with another content. */
function fieldWith(field: WireField, bytes: Uint8Array): WireField {
  const encoded = join(bytesField(field.number, [bytes]));
  const end = encoded.byteLength;
  return { ...field, bytes: encoded, from: 0, start: end - bytes.byteLength, end };
}

type Change = (tensor: TensorProto) => TensorProto;

function moveInSparse(field: WireField, file: SourceFile, change: Change): WireField {
  if (field.number !== graphField.sparseInitializer) return field;
  const sparse = decodeMessage(SparseTensorProtoSchema, field, file);
  const moved = mapSparse(sparse, change);
  return moved === sparse ? field : fieldWith(field, toBinary(SparseTensorProtoSchema, moved));
}

function moveInModelField(field: WireField, file: SourceFile, change: Change): WireField {
  if (field.number === modelField.function) {
    const body = decodeMessage(FunctionProtoSchema, field, file);
    const node = mapSame(body.node, n => mapNodeTensors(n, change));
    if (node === body.node) return field;
    return fieldWith(field, toBinary(FunctionProtoSchema, changeMessage(body, { node: [...node] })));
  }
  if (field.number !== modelField.training) return field;
  const training = decodeMessage(TrainingInfoProtoSchema, field, file);
  const initialization = training.initialization && mapGraphTensors(training.initialization, change);
  const algorithm = training.algorithm && mapGraphTensors(training.algorithm, change);
  if (initialization === training.initialization && algorithm === training.algorithm) return field;
  return fieldWith(field, toBinary(TrainingInfoProtoSchema, changeMessage(training, { initialization, algorithm })));
}

const largeTensor = 2 ** 20;

/** A data file in the making. */
class Layout {
  readonly chunks: Uint8Array[] = [];
  readonly #location: string;
  /** Offsets by content: the array for new content, file and range for old. */
  readonly #offsets = new Map<Uint8Array | string, number>();
  #end = 0;

  constructor(location: string) {
    this.#location = location;
  }

  /** The tensor with its place in this file; the same object when nothing about it changes. */
  move(tensor: OnnxTensor): OnnxTensor {
    const { data } = tensor;
    if (data.storage !== 'external') return tensor;
    const { key, length, read } = source(tensor);
    const offset = this.#offsets.get(key) ?? this.#place(key, read());
    const entries = new Map(data.entries);
    if (data.bytes) entries.delete('checksum');
    entries.set('location', this.#location).set('offset', String(offset)).set('length', String(length));
    const same = !data.bytes && [...entries].every(([name, value]) => data.entries.get(name) === value);
    return same ? tensor : { ...tensor, data: { ...data, entries, bytes: null } };
  }

  #place(key: Uint8Array | string, bytes: Uint8Array): number {
    const step = bytes.byteLength >= largeTensor ? 4096 : 64;
    const offset = Math.ceil(this.#end / step) * step;
    if (offset > this.#end) this.chunks.push(new Uint8Array(offset - this.#end));
    this.chunks.push(bytes);
    this.#end = offset + bytes.byteLength;
    this.#offsets.set(key, offset);
    return offset;
  }
}

/** What an external tensor holds: a key that is equal for equal ranges, its length, and its bytes on demand. */
function source(tensor: OnnxTensor): { key: Uint8Array | string; length: number; read: () => Uint8Array } {
  const { data } = tensor;
  if (data.storage !== 'external') throw new TypeError('not an external tensor');
  const { bytes, files, entries } = data;
  if (bytes) return { key: bytes, length: bytes.byteLength, read: () => bytes };
  if (!files)
    throw tensorError(tensor, 'has external data, and the model has no path', 'Read the model from its file.');
  const expected = contentLength(tensor);
  const { path, offset, length } = externalRange(files, entries, expected, tensor.name);
  const read = () => readExternal(files, entries, expected, tensor.name);
  return { key: `${path}:${offset}:${length}`, length, read };
}
