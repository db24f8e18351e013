import { equals } from '@bufbuild/protobuf';
import {
  byteSize,
  bytesOf,
  dataTypeName,
  elemTypeOf,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  shapeOf,
  strings,
  type ValueInfoProto,
} from '../onnx/index.ts';
import { type AttributeProto, AttributeProtoSchema } from '../onnx/onnx_pb.ts';
import { storedBytes, tensorFromProto } from '../onnx/tensor.ts';

/**
 * Compare two models bit for bit: every initializer, every node with its attributes and the tensors in them, inputs and
 * outputs. Metadata, doc strings and declared shapes of values in between do not matter to what a model computes, nor
 * does the way a tensor is stored.
 * @returns what differs first, as a sentence that names it; null: nothing
 */
export function firstDifference(expected: OnnxModel, actual: OnnxModel): string | null {
  return (
    tensorDifference(expected, actual) ??
    nodeDifference(expected, actual) ??
    interfaceDifference('input', trueInputs(expected), trueInputs(actual)) ??
    interfaceDifference('output', expected.graph.outputs, actual.graph.outputs) ??
    opsetDifference(expected, actual)
  );
}

function tensorDifference(expected: OnnxModel, actual: OnnxModel): string | null {
  const found = new Map(actual.graph.initializers.map(tensor => [tensor.name, tensor]));
  for (const tensor of expected.graph.initializers) {
    const other = found.get(tensor.name);
    if (!other) return `Tensor '${tensor.name}' is missing.`;
    const difference = contentDifference(tensor, other);
    if (difference) return `Tensor '${tensor.name}' ${difference}.`;
    found.delete(tensor.name);
  }
  for (const name of found.keys()) return `Tensor '${name}' should not be there.`;
  return null;
}

const typeOf = (tensor: OnnxTensor): string => `${dataTypeName(tensor.dataType)}[${tensor.dims.join(',')}]`;

function contentDifference(expected: OnnxTensor, actual: OnnxTensor): string | null {
  if (typeOf(expected) !== typeOf(actual)) return `is ${typeOf(actual)} instead of ${typeOf(expected)}`;
  const [a, b] = [contentOf(expected), contentOf(actual)];
  if (a.equals(b)) return null;
  const size = byteSize(expected.dataType) ?? 1;
  const at = Math.floor(a.findIndex((byte, i) => byte !== b[i]) / size);
  return `has another value at element ${at}`;
}

/** The elements as bytes; of types without whole bytes as they are stored. */
function contentOf(tensor: OnnxTensor): Buffer {
  if (byteSize(tensor.dataType) !== null) return view(bytesOf(tensor));
  if (tensor.data.storage !== 'typed') return view(storedBytes(tensor)!);
  if (dataTypeName(tensor.dataType) === 'STRING') return Buffer.from(JSON.stringify(strings(tensor)));
  return Buffer.concat(tensor.data.fields);
}

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function nodeDifference(expected: OnnxModel, actual: OnnxModel): string | null {
  const [nodes, others] = [expected.graph.nodes, actual.graph.nodes];
  for (const [i, node] of nodes.entries()) {
    const other = others[i];
    if (!other) return `Node '${labelOf(node, i)}' is missing.`;
    const wiring = ({ domain, opType, input, output }: NodeProto) => JSON.stringify([domain, opType, input, output]);
    if (wiring(node) !== wiring(other))
      return `Node '${labelOf(other, i)}' stands where '${labelOf(node, i)}' belongs.`;
    const difference = attributeDifference(node, other);
    if (difference) return `${node.opType} '${labelOf(node, i)}': ${difference}.`;
  }
  return others.length > nodes.length
    ? `Node '${labelOf(others[nodes.length], nodes.length)}' should not be there.`
    : null;
}

const labelOf = (node: NodeProto, index: number): string => node.name || `${node.opType}_${index}`;

function attributeDifference(expected: NodeProto, actual: NodeProto): string | null {
  const found = new Map(actual.attribute.map(attribute => [attribute.name, attribute]));
  for (const attribute of expected.attribute) {
    const other = found.get(attribute.name);
    found.delete(attribute.name);
    const difference = other ? valueDifference(attribute, other) : 'is missing';
    if (difference) return `attribute '${attribute.name}' ${difference}`;
  }
  for (const name of found.keys()) return `attribute '${name}' should not be there`;
  return null;
}

function valueDifference(expected: AttributeProto, actual: AttributeProto): string | null {
  // Tensors may be stored in other ways, outside the file for instance.
  if (expected.t && actual.t) return contentDifference(tensorFromProto(expected.t), tensorFromProto(actual.t));
  return equals(AttributeProtoSchema, expected, actual) ? null : 'has another value';
}

/** Inputs that have to be fed: initializers that the file lists as inputs too are compared as tensors. */
function trueInputs({ graph }: OnnxModel): readonly ValueInfoProto[] {
  const constants = new Set(graph.initializers.map(tensor => tensor.name));
  return graph.inputs.filter(info => !constants.has(info.name));
}

function interfaceDifference(
  kind: 'input' | 'output',
  expected: readonly ValueInfoProto[],
  actual: readonly ValueInfoProto[],
): string | null {
  const declared = (info: ValueInfoProto | undefined) =>
    info
      ? `'${info.name}' ${dataTypeName(elemTypeOf(info))}[${
          shapeOf(info)
            ?.map(dim => dim ?? '?')
            .join(',') ?? '…'
        }]`
      : 'none';
  for (let i = 0; i < Math.max(expected.length, actual.length); i++) {
    const [a, b] = [declared(expected[i]), declared(actual[i])];
    if (a !== b) return `The ${kind} ${i} is ${b} instead of ${a}.`;
  }
  return null;
}

function opsetDifference(expected: OnnxModel, actual: OnnxModel): string | null {
  for (const [domain, version] of expected.opsets) {
    const other = actual.opsets.get(domain);
    if (other !== version)
      return `The operator set '${domain || 'ai.onnx'}' is version ${other ?? 'none'} instead of ${version}.`;
  }
  return null;
}
