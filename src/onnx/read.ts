import { constants } from 'node:buffer';
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { messageOf, UserError } from '../util/errors.ts';
import { checkClaims } from './external-check.ts';
import { type ExternalFiles, externalFiles } from './external-data.ts';
import type { OnnxGraph, OnnxModel } from './model.ts';
import { SparseTensorProtoSchema, ValueInfoProtoSchema } from './onnx_pb.ts';
import { graphField, modelField, remember } from './origin.ts';
import { decodeMessage, readNode, type Shared } from './read-node.ts';
import { tensorFields, tensorFromFields } from './tensor.ts';
import {
  corrupt,
  corruptField,
  fieldsIn,
  integer,
  type SourceFile,
  text,
  type WireField,
  type WireType,
  walk,
} from './wire.ts';

/**
 * Read an ONNX file. External data is read when a tensor is asked for its elements.
 * @throws UserError E_NOT_FOUND, E_READ, E_ONNX_TOO_LARGE, E_ONNX_CORRUPT, E_GRAPH_SIZE
 */
export function readModel(path: string): OnnxModel {
  return parseModel(readWhole(path), path);
}

/** A file in pieces, since one call reads 2 GiB at most. */
function readWhole(path: string): Uint8Array {
  let file: number;
  try {
    // Opening a pipe would wait for its writer.
    if (!statSync(path).isFile()) throw new Error('it is not a regular file');
    file = openSync(path, 'r');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? `There is no file ${path}.` : `Could not open ${path}: ${messageOf(error)}.`;
    throw new UserError(missing ? 'E_NOT_FOUND' : 'E_READ', what, { where: path, cause: error });
  }
  try {
    const stats = fstatSync(file);
    if (stats.size > constants.MAX_LENGTH) {
      throw new UserError('E_ONNX_TOO_LARGE', `${path} has ${stats.size} bytes; an ONNX file holds 2 GiB at most.`, {
        where: path,
        fix: 'Save it with external data.',
      });
    }
    const bytes = Buffer.allocUnsafeSlow(stats.size);
    let at = 0;
    while (at < bytes.byteLength) {
      const count = readSync(file, bytes, at, Math.min(bytes.byteLength - at, 2 ** 30), at);
      if (count === 0) break;
      at += count;
    }
    return bytes.subarray(0, at);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError('E_READ', `Could not read ${path}: ${messageOf(error)}.`, { where: path, cause: error });
  } finally {
    closeSync(file);
  }
}

/**
 * A model from the bytes of a file. Tensors stay views of `bytes`: do not change them afterwards.
 * @param path where it came from: for messages, and for external data, which lies beside it
 * @throws UserError E_ONNX_CORRUPT with path and offset when the bytes are not an ONNX model
 */
export function parseModel(bytes: Uint8Array, path?: string): OnnxModel {
  const file: SourceFile = { path, base: bytes.byteOffset };
  try {
    // A plain array: views of a Buffer take three times as long to make.
    bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return decodeModel(bytes, file, path === undefined ? null : externalFiles(path));
  } catch (error) {
    const kind = otherKind(bytes);
    if (!kind || !(error instanceof UserError)) throw error;
    const name = path ?? 'This';
    throw new UserError('E_ONNX_CORRUPT', `${name} is not an ONNX file but ${kind}.`, { where: path, cause: error });
  }
}

/** What people hand over by mistake, told by the first bytes. */
function otherKind(bytes: Uint8Array): string | null {
  const start = Buffer.from(bytes.subarray(0, 64)).toString('latin1');
  if (bytes.byteLength === 0) return 'empty';
  if (start.startsWith('version https://git-lfs')) return 'a Git LFS pointer (fetch the file with "git lfs pull")';
  if (start.startsWith('PK\x03\x04')) return 'a zip archive, perhaps a PyTorch checkpoint (export it with torch.onnx)';
  if (start.startsWith('\x89HDF')) return 'an HDF5 file, perhaps of Keras (convert it with tf2onnx)';
  if (start.slice(4, 8) === 'TFL3') return 'a TensorFlow Lite file (convert it with tf2onnx)';
  if (/^\s*(<!doctype|<html|<\?xml)/i.test(start)) return 'a web page (the download failed)';
  if (/^\s*[{[]\s*["{[]/.test(start)) return 'JSON';
  return null;
}

/** A field of a fixed wire type. */
function checked(field: WireField, type: WireType, file: SourceFile): WireField {
  if (field.type === type) return field;
  throw corruptField(file, field, `field ${field.number} has wire type ${field.type} instead of ${type}`);
}

function decodeModel(bytes: Uint8Array, file: SourceFile, files: ExternalFiles | null): OnnxModel {
  const fields = walk(bytes, file);
  const opsets = new Map<string, number>();
  const metadata = new Map<string, string>();
  const functions = new Set<string>();
  const graphs: WireField[] = [];
  let irVersion = 0;
  for (const field of fields) {
    if (field.number === modelField.irVersion) irVersion = Number(integer(checked(field, 0, file)));
    else if (field.number === modelField.graph) graphs.push(checked(field, 2, file));
    else if (field.number === modelField.opset) {
      const [domain, version] = readOpset(checked(field, 2, file), file);
      opsets.set(domain, version);
    } else if (field.number === modelField.metadata) {
      const [key, value] = readEntry(checked(field, 2, file), file);
      metadata.set(key, value);
    } else if (field.number === modelField.function) functions.add(functionName(checked(field, 2, file), file));
  }
  if (graphs.length === 0) throw corrupt(file, bytes, bytes.byteLength, 'it has no graph, it ends');
  // A message field that is there several times is merged: its contents one after the other.
  const inner = graphs.flatMap(field => fieldsIn(field, file));
  const graph = decodeGraph(inner, file, files);
  const origin = { file, fields, irVersion, opsets, metadata, functions, graph };
  return { path: file.path, irVersion, opsets, metadata, functions, graph, origin };
}

/** Domain and version of an opset import; `ai.onnx` is another spelling of the standard domain. */
export function readOpset(field: WireField, file: SourceFile): readonly [string, number] {
  const parts = fieldsIn(field, file);
  const domain = parts.findLast(part => part.number === 1 && part.type === 2);
  const version = parts.findLast(part => part.number === 2 && part.type === 0);
  const name = domain ? text(domain) : '';
  return [name === 'ai.onnx' ? '' : name, version ? Number(integer(version)) : 0];
}

/** Key and value of a metadata entry. */
export function readEntry(field: WireField, file: SourceFile): readonly [string, string] {
  const parts = fieldsIn(field, file);
  const part = (number: number) => parts.findLast(p => p.number === number && p.type === 2);
  const [key, value] = [part(1), part(2)];
  return [key ? text(key) : '', value ? text(value) : ''];
}

/** `domain::name` of a model-local function. */
export function functionName(field: WireField, file: SourceFile): string {
  const parts = fieldsIn(field, file);
  const part = (number: number) => parts.findLast(p => p.number === number && p.type === 2);
  const [name, domain] = [part(1), part(10)];
  return `${domain ? text(domain) : ''}::${name ? text(name) : ''}`;
}

/** Each takes some kilobytes of memory once it is read, however few bytes it has in the file. */
const mostParts = 300_000;

function decodeGraph(fields: readonly WireField[], file: SourceFile, files: ExternalFiles | null): OnnxGraph {
  if (fields.length > mostParts) {
    throw new UserError(
      'E_GRAPH_SIZE',
      `The graph has ${fields.length} nodes, initializers and declarations; ${mostParts} are the most that are read.`,
      { where: file.path, fix: 'Export the model with its loops rolled up, or in parts.' },
    );
  }
  const messages = <D extends DescMessage>(number: number, schema: D): MessageShape<D>[] =>
    fields
      .filter(field => field.number === number)
      .map(field => remember(decodeMessage(schema, checked(field, 2, file), file), field));
  const names = fields.filter(field => field.number === graphField.name);
  const initializers = fields
    .filter(field => field.number === graphField.initializer)
    .map(field => remember(tensorFromFields(tensorFields(checked(field, 2, file), file), file, files), field));
  checkClaims(initializers);
  const shared: Shared = { names: new Map(), attributes: new Map() };
  return {
    name: names.length ? text(checked(names[names.length - 1], 2, file)) : '',
    nodes: fields
      .filter(field => field.number === graphField.node)
      .map(field => readNode(checked(field, 2, file), file, files, shared)),
    initializers,
    inputs: messages(graphField.input, ValueInfoProtoSchema),
    outputs: messages(graphField.output, ValueInfoProtoSchema),
    valueInfo: messages(graphField.valueInfo, ValueInfoProtoSchema),
    sparseInitializers: messages(graphField.sparseInitializer, SparseTensorProtoSchema).map(
      sparse => sparse.values?.name ?? '',
    ),
    origin: fields,
  };
}
