import { create, isMessage } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type GraphProto,
  GraphProtoSchema,
  type NodeProto,
  NodeProtoSchema,
} from './onnx_pb.ts';
import { type OnnxTensor, protoFromTensor, tensorFromProto } from './tensor.ts';
import { changeMessage } from './visit.ts';

/** An attribute as plain data. */
export type AttributeValue =
  | number
  | number[]
  | string
  | string[]
  | OnnxTensor
  | OnnxTensor[]
  | GraphProto
  | GraphProto[];

/** Numbers that are FLOAT or FLOATS in the file even if they are whole. */
export class Float {
  readonly value: number | readonly number[];
  constructor(value: number | readonly number[]) {
    this.value = value;
  }
}

/** Marks numbers as FLOAT (or FLOATS), for operators that expect it: `{ alpha: float(1) }`. */
export const float = (value: number | readonly number[]): Float => new Float(value);

/**
 * What can be given for an attribute. Whole numbers become INT and INTS, others (and `float(…)`) FLOAT and FLOATS; an
 * empty list is INTS. Whole numbers beyond 2^53 are given as bigint.
 */
export type AttributeInput =
  | number
  | bigint
  | boolean
  | Float
  | string
  | OnnxTensor
  | GraphProto
  | readonly (number | bigint)[]
  | readonly string[]
  | readonly OnnxTensor[]
  | readonly GraphProto[];

const encoder = new TextEncoder();
const isGraph = (value: unknown): value is GraphProto => isMessage(value, GraphProtoSchema);
const isTensor = (value: unknown): value is OnnxTensor =>
  typeof value === 'object' && value !== null && 'data' in value && 'dataType' in value;
const whole = (value: unknown): value is number | bigint => typeof value === 'bigint' || Number.isInteger(value);

/** Numbers at the safe extremes stand for "to the end" and become the extremes of int64, as `attributesOf` reads them. */
function int64(value: number | bigint): bigint {
  if (value === Number.MAX_SAFE_INTEGER) return 2n ** 63n - 1n;
  return value === Number.MIN_SAFE_INTEGER ? -(2n ** 63n) : BigInt(value);
}

/** Numbers are rounded to single precision here as the file would, so that a built model equals the one that is read. */
function attributeFields(value: AttributeInput): Partial<AttributeProto> {
  if (typeof value === 'boolean') return { type: AttributeType.INT, i: value ? 1n : 0n };
  if (typeof value === 'string') return { type: AttributeType.STRING, s: encoder.encode(value) };
  if (value instanceof Float) {
    return typeof value.value === 'number'
      ? { type: AttributeType.FLOAT, f: Math.fround(value.value) }
      : { type: AttributeType.FLOATS, floats: value.value.map(Math.fround) };
  }
  if (typeof value === 'number' || typeof value === 'bigint') {
    return whole(value)
      ? { type: AttributeType.INT, i: int64(value) }
      : { type: AttributeType.FLOAT, f: Math.fround(Number(value)) };
  }
  if (isGraph(value)) return { type: AttributeType.GRAPH, g: value };
  if (isTensor(value)) return { type: AttributeType.TENSOR, t: protoFromTensor(value) };
  const list: readonly unknown[] = value;
  if (list.length && list.every(item => typeof item === 'string')) {
    return { type: AttributeType.STRINGS, strings: list.map(item => encoder.encode(item)) };
  }
  if (list.every(whole)) return { type: AttributeType.INTS, ints: list.map(int64) };
  if (list.every(isGraph)) return { type: AttributeType.GRAPHS, graphs: [...list] };
  if (list.every(isTensor)) return { type: AttributeType.TENSORS, tensors: list.map(protoFromTensor) };
  return { type: AttributeType.FLOATS, floats: list.map(item => Math.fround(Number(item))) };
}

/** An attribute message. */
export const attribute = (name: string, value: AttributeInput): AttributeProto =>
  Object.assign(create(AttributeProtoSchema, { name }), attributeFields(value));

/** What a node may say besides operator, inputs, outputs and attributes. */
export interface NodeDetail {
  readonly name?: string;
  readonly domain?: string;
  readonly docString?: string;
}

/** Nodes do not change once they are there: their attributes are decoded once, and who read them may keep them. */
function freezeNode(node: NodeProto): NodeProto {
  Object.freeze(node.input);
  Object.freeze(node.output);
  Object.freeze(node.attribute);
  return Object.freeze(node);
}

/** A node. Attributes that are undefined are left out; an input that is not given is `''`. */
export function makeNode(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, AttributeInput | undefined>> = {},
  extra: NodeDetail = {},
): NodeProto {
  const given = Object.entries(attributes).flatMap(([name, value]) =>
    value === undefined ? [] : [attribute(name, value)],
  );
  const fields = { opType, input: [...inputs], output: [...outputs], attribute: given, ...extra };
  return freezeNode(create(NodeProtoSchema, fields));
}

const utf8 = new TextDecoder();

/** An int64 as a number; beyond 2^53 the safe extreme of its sign, which keeps the meaning of "to the end". */
function saturated(value: bigint): number {
  const number = Number(value);
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, number));
}

function decoded(a: AttributeProto): AttributeValue | null {
  switch (a.type) {
    case AttributeType.FLOAT:
      return a.f;
    case AttributeType.INT:
      return saturated(a.i);
    case AttributeType.STRING:
      return utf8.decode(a.s);
    case AttributeType.TENSOR:
      return a.t ? tensorFromProto(a.t) : null;
    case AttributeType.GRAPH:
      return a.g ?? null;
    case AttributeType.FLOATS:
      return a.floats;
    case AttributeType.INTS:
      return a.ints.map(saturated);
    case AttributeType.STRINGS:
      return a.strings.map(s => utf8.decode(s));
    case AttributeType.TENSORS:
      return a.tensors.map(t => tensorFromProto(t));
    case AttributeType.GRAPHS:
      return a.graphs;
    case AttributeType.UNDEFINED:
      return untyped(a);
    default:
      return null;
  }
}

/** Files of IR version 1 do not state the type: the field that is there tells it. */
function untyped(a: AttributeProto): AttributeValue | null {
  if (Object.hasOwn(a, 'f')) return a.f;
  if (Object.hasOwn(a, 'i')) return saturated(a.i);
  if (Object.hasOwn(a, 's')) return utf8.decode(a.s);
  if (a.t) return tensorFromProto(a.t);
  if (a.g) return a.g;
  if (a.floats.length) return a.floats;
  if (a.strings.length) return a.strings.map(s => utf8.decode(s));
  return a.ints.map(saturated);
}

/** By the list of a node's attributes, which nodes of a file may share. */
const decodedLists = new WeakMap<readonly AttributeProto[], ReadonlyMap<string, AttributeValue>>();

/**
 * The attributes of a node by name, decoded once. INT beyond 2^53 becomes the safe extreme. Sparse tensors, type
 * descriptions and references to a function's attributes are not in it: `node.attribute` has them.
 */
export function attributesOf(node: NodeProto): ReadonlyMap<string, AttributeValue> {
  const known = decodedLists.get(node.attribute);
  if (known) return known;
  const values = new Map<string, AttributeValue>();
  for (const a of node.attribute) {
    const value = a.refAttrName ? null : decoded(a);
    if (value !== null) values.set(a.name, Array.isArray(value) ? (Object.freeze(value) as AttributeValue) : value);
  }
  decodedLists.set(node.attribute, values);
  return values;
}

/** A copy of a node with other inputs, outputs or names; attributes and unknown fields stay. */
export const changeNode = (
  node: NodeProto,
  changes: Partial<Pick<NodeProto, 'input' | 'output' | 'name' | 'opType' | 'domain' | 'attribute'>>,
): NodeProto => freezeNode(changeMessage<NodeProto>(node, changes));

/**
 * A copy of a node with some attributes set (in place, new ones at the end) or, for undefined, removed. Where the node
 * has FLOAT or FLOATS, whole numbers stay FLOAT.
 */
export function withAttributes(
  node: NodeProto,
  changes: Readonly<Record<string, AttributeInput | undefined>>,
): NodeProto {
  const rest = new Map(Object.entries(changes));
  const kept = node.attribute.flatMap(a => {
    if (!rest.has(a.name)) return [a];
    const value = rest.get(a.name);
    rest.delete(a.name);
    return value === undefined ? [] : [attribute(a.name, sameKind(a, value))];
  });
  const added = [...rest].flatMap(([name, value]) => (value === undefined ? [] : [attribute(name, value)]));
  return changeNode(node, { attribute: [...kept, ...added] });
}

/** Numbers marked as FLOAT where the old attribute was. */
function sameKind(before: AttributeProto, value: AttributeInput): AttributeInput {
  if (before.type !== AttributeType.FLOAT && before.type !== AttributeType.FLOATS) return value;
  if (typeof value === 'number') return new Float(value);
  const list = Array.isArray(value) ? value : [];
  return Array.isArray(value) && list.every(item => typeof item === 'number') ? new Float(list) : value;
}
