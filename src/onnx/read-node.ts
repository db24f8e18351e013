import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { messageOf } from '../util/errors.ts';
import { type ExternalFiles, stamp } from './external-data.ts';
import { NodeMessage, type NodeWords } from './node-message.ts';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataLocation,
} from './onnx_pb.ts';
import { freeze, remember } from './origin.ts';
import { rememberFiles } from './tensor.ts';
import { mapAttributeTensors } from './visit.ts';
import { content, corruptField, fieldsIn, latin1, type SourceFile, text, type WireField } from './wire.ts';

const none: never[] = [];
Object.freeze(none);

/** What nodes of a file have in common is kept once: names, and attributes of the same bytes. */
export interface Shared {
  readonly names: Map<string, string>;
  readonly attributes: Map<string, readonly AttributeProto[]>;
}

/** Longest attributes of a node, in bytes, that are looked for among those of other nodes. */
const longestShared = 512;

/**
 * A node as protobuf-es would give it, frozen.
 * @throws UserError E_ONNX_CORRUPT
 */
export function readNode(
  field: WireField,
  file: SourceFile,
  files: ExternalFiles | null,
  { names, attributes }: Shared,
): NodeProto {
  const fields = fieldsIn(field, file);
  const input: string[] = [];
  const output: string[] = [];
  const encoded: WireField[] = [];
  const words: NodeWords = {};
  const name = (part: WireField): string => {
    const read = text(part);
    const known = names.get(read);
    if (known === undefined) names.set(read, read);
    return known ?? read;
  };
  for (const part of fields) {
    if (part.number < 8 && part.type !== 2) {
      throw corruptField(file, part, `field ${part.number} of a node has wire type ${part.type}`);
    }
    if (part.number === 1) input.push(name(part));
    else if (part.number === 2) output.push(name(part));
    else if (part.number === 3) words.name = name(part);
    else if (part.number === 4) words.opType = name(part);
    else if (part.number === 5) encoded.push(part);
    else if (part.number === 6) words.docString = text(part);
    else if (part.number === 7) words.domain = name(part);
    else return wholeNode(field, file, files);
  }
  const attribute = readAttributes(encoded, file, files, attributes);
  return new NodeMessage(field, input, output, attribute, words) as unknown as NodeProto;
}

/** The attributes of a node, those of another one where their bytes are the same. */
function readAttributes(
  encoded: readonly WireField[],
  file: SourceFile,
  files: ExternalFiles | null,
  known: Shared['attributes'],
): readonly AttributeProto[] {
  if (encoded.length === 0) return none;
  const read = () => Object.freeze(encoded.map(part => readAttribute(part, file, files)));
  const { bytes, from } = encoded[0];
  const { end } = encoded[encoded.length - 1];
  const isOneRun = encoded.every((part, i) => i === 0 || part.from === encoded[i - 1].end);
  if (!isOneRun || end - from > longestShared) return read();
  const key = latin1(bytes, from, end);
  const shared = known.get(key) ?? read();
  known.set(key, shared);
  return shared;
}

/** A node with fields that few files have (overload, metadata, devices, unknown ones). */
function wholeNode(field: WireField, file: SourceFile, files: ExternalFiles | null): NodeProto {
  const node = remember(decodeMessage(NodeProtoSchema, field, file), field);
  for (const a of node.attribute) noteExternal(a, files);
  return node;
}

function readAttribute(field: WireField, file: SourceFile, files: ExternalFiles | null): AttributeProto {
  const decoded = decodeMessage(AttributeProtoSchema, field, file);
  noteExternal(decoded, files);
  return decoded;
}

/** Tensors with external data inside an attribute must know the folder that they were read from. */
function noteExternal(attribute: AttributeProto, files: ExternalFiles | null): void {
  if (!files) return;
  mapAttributeTensors(attribute, tensor => {
    if (tensor.dataLocation === TensorProto_DataLocation.EXTERNAL) {
      stamp(files, new Map(tensor.externalData.map(entry => [entry.key, entry.value])));
      rememberFiles(tensor, files);
    }
    return tensor;
  });
}

/** A small message by the generated code, frozen through and through. @throws UserError E_ONNX_CORRUPT */
export function decodeMessage<D extends DescMessage>(schema: D, field: WireField, file: SourceFile): MessageShape<D> {
  try {
    return freeze(fromBinary(schema, content(field)));
  } catch (error) {
    throw corruptField(file, field, `a ${schema.name} that cannot be decoded (${messageOf(error)})`);
  }
}
