import { renameSync, rmSync } from 'node:fs';
import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
import { moveExternal } from './external-write.ts';
import type { OnnxGraph, OnnxModel } from './model.ts';
import { NodeProtoSchema, type ValueInfoProto, ValueInfoProtoSchema } from './onnx_pb.ts';
import { graphField, modelField, originOf } from './origin.ts';
import { functionName, readEntry, readOpset } from './read.ts';
import { encodeTensor } from './tensor.ts';
import {
  byteLength,
  bytesField,
  coalesce,
  content,
  integerField,
  text,
  textField,
  type WireField,
  whole,
} from './wire.ts';

/** One encoded field. */
type Chunks = readonly Uint8Array[];

/**
 * A model as the bytes of a file, in chunks (large tensors are not copied). What is the very object that was read is
 * written as its original bytes at its original place, so an unchanged model gives the same bytes. References to
 * external data stay as they are; changed contents of external tensors are written inline.
 */
export function encodeModel(model: OnnxModel): Uint8Array[] {
  const { origin } = model;
  const file = origin?.file ?? { base: 0 };
  const old = (number: number) => (origin?.fields ?? []).filter(field => field.number === number);
  const changed = new Map<number, readonly Chunks[]>();
  if (origin?.irVersion !== model.irVersion) {
    changed.set(modelField.irVersion, [[integerField(modelField.irVersion, model.irVersion)]]);
  }
  if (origin?.graph !== model.graph) {
    changed.set(modelField.graph, [bytesField(modelField.graph, encodeGraph(model.graph))]);
  }
  if (origin?.opsets !== model.opsets) {
    const read = new Map(old(modelField.opset).map(field => [readOpset(field, file), field] as const));
    const encode = (domain: string, version: number) => [
      ...(domain ? [textField(1, domain)] : []),
      integerField(2, version),
    ];
    changed.set(modelField.opset, entries(modelField.opset, model.opsets, read, encode));
  }
  if (origin?.metadata !== model.metadata) {
    const read = new Map(old(modelField.metadata).map(field => [readEntry(field, file), field] as const));
    const encode = (key: string, value: string) => [textField(1, key), textField(2, value)];
    changed.set(modelField.metadata, entries(modelField.metadata, model.metadata, read, encode));
  }
  if (origin && origin.functions !== model.functions) {
    const kept = old(modelField.function).filter(field => model.functions.has(functionName(field, file)));
    changed.set(
      modelField.function,
      kept.map(field => [whole(field)]),
    );
  }
  return coalesce(merge(origin?.fields ?? [], changed));
}

/** Key-value fields: those whose value did not change keep their bytes and their order, new ones follow. */
function entries<V>(
  number: number,
  wanted: ReadonlyMap<string, V>,
  read: ReadonlyMap<readonly [string, V], WireField>,
  encode: (key: string, value: V) => Uint8Array[],
): Chunks[] {
  const known = new Map([...read].map(([[key, value], field]) => [key, { value, field }]));
  const keys = [...known.keys()].filter(key => wanted.has(key));
  const added = [...wanted.keys()].filter(key => !known.has(key));
  return [...keys, ...added].map(key => {
    const value = wanted.get(key) as V;
    const before = known.get(key);
    return before?.value === value ? [whole(before.field)] : bytesField(number, encode(key, value));
  });
}

/**
 * A message's fields in their old order with new contents for some field numbers: the n-th element takes the n-th old
 * place, more elements follow at the last place; kinds without an old place come at the end, by number.
 */
function merge(fields: readonly WireField[], changed: ReadonlyMap<number, readonly Chunks[]>): Uint8Array[] {
  const places = new Map<number, number>();
  for (const { number } of fields) places.set(number, (places.get(number) ?? 0) + 1);
  const taken = new Map<number, number>();
  const chunks: Uint8Array[] = [];
  const push = (elements: readonly Chunks[]) => {
    for (const element of elements) for (const chunk of element) chunks.push(chunk);
  };
  for (const field of fields) {
    const elements = changed.get(field.number);
    if (!elements) {
      chunks.push(whole(field));
      continue;
    }
    const place = taken.get(field.number) ?? 0;
    taken.set(field.number, place + 1);
    push(elements.slice(place, place + 1 === places.get(field.number) ? undefined : place + 1));
  }
  const rest = [...changed].filter(([number]) => !places.has(number)).sort(([a], [b]) => a - b);
  for (const [, elements] of rest) push(elements);
  return chunks;
}

function encodeGraph(graph: OnnxGraph): Uint8Array[] {
  const names = (graph.origin ?? []).filter(field => field.number === graphField.name);
  const name = names.length ? text(names[names.length - 1]) : '';
  const infos = (number: number, list: readonly ValueInfoProto[]) =>
    list.map(info => element(number, info, () => [message(ValueInfoProtoSchema, info)]));
  const changed = new Map<number, readonly Chunks[]>([
    [graphField.node, graph.nodes.map(node => element(graphField.node, node, () => [message(NodeProtoSchema, node)]))],
    [
      graphField.initializer,
      graph.initializers.map(tensor => element(graphField.initializer, tensor, () => encodeTensor(tensor))),
    ],
    [graphField.input, infos(graphField.input, graph.inputs)],
    [graphField.output, infos(graphField.output, graph.outputs)],
    [graphField.valueInfo, infos(graphField.valueInfo, graph.valueInfo)],
  ]);
  if (name !== graph.name) changed.set(graphField.name, [[textField(graphField.name, graph.name)]]);
  return merge(graph.origin ?? [], changed);
}

/** One element of a repeated field: its original bytes if it is the object that was read. */
function element(number: number, object: object, encode: () => Uint8Array[]): Chunks {
  const origin = originOf(object);
  if (!origin) return bytesField(number, encode());
  return origin.number === number ? [whole(origin)] : bytesField(number, [content(origin)]);
}

/** A message by the generated code. */
function message<D extends DescMessage>(schema: D, value: MessageShape<D>): Uint8Array {
  return toBinary(schema, value);
}

/** Largest file that protobuf implementations read. */
const limit = 2 ** 31 - 1;

export interface WriteOptions {
  /**
   * Raw initializers of at least so many bytes move to the data file. Without it none do, unless the file would exceed
   * 2 GiB, which protobuf does not allow; then those from 1 KiB on. ONNX Runtime wants shape vectors inside the file, so
   * a few hundred bytes are the least that makes sense.
   */
  readonly externalThreshold?: number;
}

/**
 * Write a model; external tensors stay external and go to `<path>.data`, which holds only what the model refers to.
 * Both files are replaced atomically, and everything is read before the first is, so `path` may be the file that the
 * model came from; what lies outside is copied in pieces. The same model gives the same bytes.
 * @returns the paths that were written
 * @throws UserError E_WRITE, E_EXTERNAL_DATA, E_TENSOR_DATA (contents that do not fit), E_ONNX_TOO_LARGE
 */
export function writeModel(model: OnnxModel, path: string, options: WriteOptions = {}): string[] {
  let moved = moveExternal(model, path, options.externalThreshold ?? Number.POSITIVE_INFINITY);
  let chunks = encodeModel(moved.model);
  if (byteLength(chunks) > limit) {
    moved = moveExternal(model, path, Math.min(options.externalThreshold ?? 1024, 1024));
    chunks = encodeModel(moved.model);
  }
  const size = byteLength(chunks);
  if (size > limit) {
    throw new UserError('E_ONNX_TOO_LARGE', `The model takes ${size} bytes; an ONNX file holds 2 GiB at most.`, {
      where: path,
      fix: 'Its weights are not initializers with raw data, so they cannot be moved to another file.',
    });
  }
  if (moved.dataLength === 0) {
    writeAtomic(path, chunks);
    return [path];
  }
  // The model waits beside its place until the data is there, so that a full disk leaves the old pair together.
  const waiting = `${path}.new-${process.pid}`;
  try {
    writeAtomic(waiting, chunks);
    writeAtomic(moved.dataPath, moved.data);
    renameSync(waiting, path);
  } finally {
    rmSync(waiting, { force: true });
  }
  return [path, moved.dataPath];
}
