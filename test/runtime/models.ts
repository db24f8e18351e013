import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterAll } from 'vitest';
import {
  AttributeProto_AttributeType as Kind,
  ModelProtoSchema,
  type NodeProtoSchema,
  type TensorProtoSchema,
} from '../../src/onnx/onnx_pb.ts';

type Axes = readonly (number | string)[];
type Value = readonly [type: 'float' | 'double' | 'half' | 'int64' | 'uint8' | 'string', shape: Axes];

const elementTypes = { float: 1, uint8: 2, int64: 7, string: 8, half: 10, double: 11 };

/** The few lines of a model that a test is about. */
export interface TestModel {
  readonly inputs: Readonly<Record<string, Value>>;
  readonly outputs: Readonly<Record<string, Value>>;
  readonly initializers?: readonly MessageInitShape<typeof TensorProtoSchema>[];
  readonly nodes: readonly MessageInitShape<typeof NodeProtoSchema>[];
  readonly irVersion?: number;
}

/** A folder that is removed after the tests of a file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 's2hpruner-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  return folder;
}

export function writeTestModel(path: string, model: TestModel): string {
  const values = (described: Readonly<Record<string, Value>>) =>
    Object.entries(described).map(([name, [type, shape]]) => ({
      name,
      type: {
        value: {
          case: 'tensorType' as const,
          value: { elemType: elementTypes[type], shape: { dim: shape.map(axis) } },
        },
      },
    }));
  const message = create(ModelProtoSchema, {
    irVersion: BigInt(model.irVersion ?? 8),
    opsetImport: [{ version: 13n }],
    graph: {
      name: 'test',
      input: values(model.inputs),
      output: values(model.outputs),
      initializer: [...(model.initializers ?? [])],
      node: [...model.nodes],
    },
  });
  writeFileSync(path, toBinary(ModelProtoSchema, message));
  return path;
}

const axis = (length: number | string) =>
  typeof length === 'number'
    ? { value: { case: 'dimValue' as const, value: BigInt(length) } }
    : length
      ? { value: { case: 'dimParam' as const, value: length } }
      : {};

export const node = (
  opType: string,
  input: string[],
  output: string[],
  attributes: Record<string, number | number[]> = {},
): MessageInitShape<typeof NodeProtoSchema> => ({
  opType,
  input,
  output,
  attribute: Object.entries(attributes).map(([name, value]) =>
    Array.isArray(value)
      ? { name, type: Kind.INTS, ints: value.map(BigInt) }
      : { name, type: Kind.INT, i: BigInt(value) },
  ),
});

export const floats = (name: string, dims: number[], data: number[]): MessageInitShape<typeof TensorProtoSchema> => ({
  name,
  dataType: elementTypes.float,
  dims: dims.map(BigInt),
  floatData: data,
});

export const int64s = (name: string, data: number[]): MessageInitShape<typeof TensorProtoSchema> => ({
  name,
  dataType: elementTypes.int64,
  dims: [BigInt(data.length)],
  int64Data: data.map(BigInt),
});

/** The class scores are the channels of a 1×1 image, so that a test writes the scores it wants as images. */
export const scoresAreImages = (batch: number | string, type: 'float' | 'half' | 'uint8' = 'float'): TestModel => ({
  inputs: { image: [type, [batch, 6, 1, 1]] },
  outputs: { scores: [type, [batch, 6]] },
  nodes: [node('Flatten', ['image'], ['scores'])],
});
