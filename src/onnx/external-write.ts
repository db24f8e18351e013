import { basename } from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import { checkOverlaps, externalRange, readExternal, type TensorRange } from './external-data.ts';
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
import {
  type ByteSource,
  contentLength,
  type OnnxTensor,
  protoFromTensor,
  tensorError,
  tensorFromProto,
} from './tensor.ts';
import { changeMessage, mapGraphTensors, mapNodeTensors, mapSparse } from './visit.ts';
import { bytesField, join, type SourceFile, type WireField } from './wire.ts';

/** A model whose external tensors point into one new data file, and that file's contents. */
export interface MovedModel {
  readonly model: OnnxModel;
  readonly dataPath: string;
  /** 0: there is no data file. */
  readonly dataLength: number;
  /** The contents, made as they are asked for; once. */
  readonly data: Iterable<Uint8Array>;
}

/**
 * Lay out the data file for a model that is to be written to `path`: every range once, in the order of first use,
 * offsets aligned to 64 bytes (4096 for tensors of 1 MiB and more, so that they can be mapped). Reads nothing yet.
 * @param threshold raw initializers of at least so many bytes become external
 * @throws UserError E_EXTERNAL_DATA, E_TENSOR_DATA
 */
export function moveExternal(model: OnnxModel, path: string, threshold: number): MovedModel {
  const dataPath = `${path}.data`;
  const layout = new Layout(basename(dataPath));
  const moved = mapExternal(
    model,
    tensor => layout.move(tensor),
    tensor => {
      const { data } = tensor;
      if (data.storage !== 'raw' || data.bytes.byteLength < threshold) return tensor;
      const entries = new Map<string, string>();
      return layout.move({ ...tensor, data: { storage: 'external', entries, files: null, bytes: data.bytes } });
    },
  );
  checkOverlaps(layout.ranges);
  return { model: moved, dataPath, dataLength: layout.end, data: layout.contents() };
}

/**
 * The model with every external tensor changed, wherever it is: initializers, attributes, sub-graphs, sparse tensors,
 * functions, training information.
 * @param other for the initializers that are not external
 */
export function mapExternal(
  model: OnnxModel,
  change: (tensor: OnnxTensor) => OnnxTensor,
  other: (tensor: OnnxTensor) => OnnxTensor = tensor => tensor,
): OnnxModel {
  const changeProto = (proto: TensorProto): TensorProto => {
    if (proto.dataLocation !== TensorProto_DataLocation.EXTERNAL) return proto;
    const tensor = tensorFromProto(proto, model.path);
    const changed = change(tensor);
    return changed === tensor ? proto : protoFromTensor(changed);
  };
  const { graph, origin } = model;
  const file = origin?.file ?? { base: 0 };
  const initializers = mapSame(graph.initializers, tensor =>
    tensor.data.storage === 'external' ? change(tensor) : other(tensor),
  );
  const nodes = mapSame(graph.nodes, node => mapNodeTensors(node, changeProto));
  const graphOrigin = graph.origin && mapSame(graph.origin, field => moveInSparse(field, file, changeProto));
  const fields = origin && mapSame(origin.fields, field => moveInModelField(field, file, changeProto));
  const sameGraph = initializers === graph.initializers && nodes === graph.nodes && graphOrigin === graph.origin;
  return {
    ...model,
    graph: sameGraph ? graph : { ...graph, initializers, nodes, origin: graphOrigin },
    origin: origin && fields && { ...origin, fields },
  };
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
  /** What was read so far. */
  readonly ranges: TensorRange[] = [];
  readonly #location: string;
  readonly #parts: (() => Iterable<Uint8Array>)[] = [];
  /** Offsets by content: the object for new content, file and range for old. */
  readonly #offsets = new Map<object | string, number>();
  #end = 0;

  constructor(location: string) {
    this.#location = location;
  }

  get end(): number {
    return this.#end;
  }

  *contents(): Generator<Uint8Array, void> {
    for (const part of this.#parts) yield* part();
  }

  /** The tensor with its place in this file; the same object when nothing about it changes. */
  move(tensor: OnnxTensor): OnnxTensor {
    const { data } = tensor;
    if (data.storage !== 'external') return tensor;
    const { key, length, pieces, range } = source(tensor);
    if (range) this.ranges.push(range);
    const offset = this.#offsets.get(key) ?? this.#place(key, length, pieces);
    const entries = new Map(data.entries);
    if (data.bytes) entries.delete('checksum');
    entries.set('location', this.#location).set('offset', String(offset)).set('length', String(length));
    const same = !data.bytes && [...entries].every(([name, value]) => data.entries.get(name) === value);
    return same ? tensor : { ...tensor, data: { ...data, entries, bytes: null } };
  }

  #place(key: object | string, length: number, pieces: () => Iterable<Uint8Array>): number {
    const step = length >= largeTensor ? 4096 : 64;
    const offset = Math.ceil(this.#end / step) * step;
    const gap = offset - this.#end;
    if (gap > 0) this.#parts.push(() => [new Uint8Array(gap)]);
    this.#parts.push(pieces);
    this.#end = offset + length;
    this.#offsets.set(key, offset);
    return offset;
  }
}

interface Source {
  /** Equal for equal content. */
  readonly key: object | string;
  readonly length: number;
  readonly pieces: () => Iterable<Uint8Array>;
  /** Where it is read from. */
  readonly range?: TensorRange;
}

/** What an external tensor holds. */
function source(tensor: OnnxTensor): Source {
  const { data, name } = tensor;
  if (data.storage !== 'external') throw new TypeError('not an external tensor');
  const { bytes, files, entries } = data;
  if (bytes) return { key: bytes, length: bytes.byteLength, pieces: () => piecesOf(bytes) };
  if (!files)
    throw tensorError(tensor, 'has external data, and the model has no path', 'Read the model from its file.');
  const expected = contentLength(tensor);
  const range = externalRange(files, entries, expected, name);
  const { path, offset, length } = range;
  const read = (from: number, count: number) =>
    readExternal(files, entries, expected, name, { offset: from, length: count });
  const pieces = () => piecesOf({ byteLength: length, read });
  return { key: `${path}:${offset}:${length}`, length, pieces, range: { ...range, tensor: name } };
}

/** Bytes that are copied at once. */
const pieceSize = 2 ** 24;

function* piecesOf(bytes: Uint8Array | ByteSource): Generator<Uint8Array, void> {
  if (bytes instanceof Uint8Array) yield bytes;
  else
    for (let at = 0; at < bytes.byteLength; at += pieceSize)
      yield bytes.read(at, Math.min(pieceSize, bytes.byteLength - at));
}
