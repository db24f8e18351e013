import { create, type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { messageOf } from '../util/errors.ts';
import { type ExternalFiles, stamp } from './external-data.ts';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataLocation,
} from './onnx_pb.ts';
import { freeze } from './origin.ts';
import { rememberFiles } from './tensor.ts';
import { mapAttributeTensors } from './visit.ts';
import { content, corruptField, fieldsIn, type SourceFile, text, type WireField } from './wire.ts';

const prototype: object = Object.getPrototypeOf(create(NodeProtoSchema));
const none: never[] = [];
Object.freeze(none);

/**
 * A node as protobuf-es would give it, frozen; only its attributes are decoded when they are first asked for, which
 * makes reading large graphs several times faster.
 * @throws UserError E_ONNX_CORRUPT, also from the `attribute` of the node
 */
export function readNode(field: WireField, file: SourceFile, files: ExternalFiles | null): NodeProto {
  const fields = fieldsIn(field, file);
  const input: string[] = [];
  const output: string[] = [];
  const encoded: WireField[] = [];
  const own: Partial<Pick<NodeProto, 'name' | 'opType' | 'domain' | 'docString'>> = {};
  for (const part of fields) {
    if (part.number < 8 && part.type !== 2) {
      throw corruptField(file, part, `field ${part.number} of a node has wire type ${part.type}`);
    }
    if (part.number === 1) input.push(text(part));
    else if (part.number === 2) output.push(text(part));
    else if (part.number === 3) own.name = text(part);
    else if (part.number === 4) own.opType = text(part);
    else if (part.number === 5) encoded.push(part);
    else if (part.number === 6) own.docString = text(part);
    else if (part.number === 7) own.domain = text(part);
    else return wholeNode(field, file, files);
  }
  let attribute: AttributeProto[] | null = null;
  const node = {
    __proto__: prototype,
    $typeName: 'onnx.NodeProto' as const,
    input: Object.freeze(input),
    output: Object.freeze(output),
    get attribute(): AttributeProto[] {
      attribute ??= encoded.map(part => readAttribute(part, file, files));
      return Object.freeze(attribute) as AttributeProto[];
    },
    deviceConfigurations: none,
    metadataProps: none,
    ...own,
  };
  return Object.freeze(node) as unknown as NodeProto;
}

/** A node with fields that few files have (overload, metadata, devices, unknown ones). */
function wholeNode(field: WireField, file: SourceFile, files: ExternalFiles | null): NodeProto {
  const node = decodeMessage(NodeProtoSchema, field, file);
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
