import { create } from '@bufbuild/protobuf';
import { type AttributeProto, type NodeProto, NodeProtoSchema } from './onnx_pb.ts';
import type { WireField } from './wire.ts';

const none: never[] = [];
Object.freeze(none);

/** What a node may say besides inputs, outputs and attributes; what it does not say is not there. */
export type NodeWords = Partial<Pick<NodeProto, 'name' | 'opType' | 'domain' | 'docString'>>;

/**
 * A node of a file as protobuf-es would give it, frozen. A class of our own, since graphs have a hundred thousand of them:
 * objects that are given a prototype one by one take a kilobyte each, and so does what is kept beside them.
 */
export class NodeMessage {
  readonly $typeName = 'onnx.NodeProto';
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly AttributeProto[];
  readonly deviceConfigurations = none;
  readonly metadataProps = none;
  // Private, so that a copy with other fields does not take it along.
  readonly #field: WireField;

  constructor(
    field: WireField,
    input: readonly string[],
    output: readonly string[],
    attribute: readonly AttributeProto[],
    words: NodeWords,
  ) {
    this.#field = field;
    this.input = listOf(input);
    this.output = listOf(output);
    this.attribute = attribute;
    Object.assign(this, words);
    Object.freeze(this);
  }

  /** The field that this very object was read from; undefined for any other object. */
  static fieldOf(object: object): WireField | undefined {
    return #field in object ? object.#field : undefined;
  }
}
Object.setPrototypeOf(NodeMessage.prototype, Object.getPrototypeOf(create(NodeProtoSchema)));

/** A frozen copy: lists that grew keep room for more. */
const listOf = (list: readonly string[]): readonly string[] => (list.length === 0 ? none : Object.freeze(list.slice()));
