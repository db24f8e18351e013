import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { DataType, isInteger } from '../../src/onnx/data-type.ts';
import { floats, ints } from '../../src/onnx/elements.ts';
import type { OnnxModel } from '../../src/onnx/model.ts';
import { TensorProtoSchema } from '../../src/onnx/onnx_pb.ts';
import { parseModel } from '../../src/onnx/read.ts';
import { type OnnxTensor, tensorFromProto, withName } from '../../src/onnx/tensor.ts';
import { valueInfo } from '../../src/onnx/value-info.ts';
import type { Tensor, Torch } from '../../src/torch/index.ts';

/** One model of the ONNX project with one set of inputs and outputs. */
export interface Case {
  readonly name: string;
  readonly model: OnnxModel;
  /** In the order of the graph's inputs; null where the case leaves an optional one out. */
  readonly inputs: readonly (OnnxTensor | null)[];
  readonly outputs: readonly (OnnxTensor | null)[];
}

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const decode = (text: string | null) => text && tensorFromProto(fromBinary(TensorProtoSchema, bytes(text)));

type Packed = Record<string, { model: string; sets: { inputs: (string | null)[]; outputs: (string | null)[] }[] }>;

/** The cases of a file of `test/data/conformance`, one for every data set. */
export function conformanceCases(name: 'cases' | 'newer' = 'cases'): Case[] {
  const file = readFileSync(new URL(`../data/conformance/${name}.json.gz`, import.meta.url));
  const packed = JSON.parse(gunzipSync(file).toString()) as Packed;
  return Object.entries(packed).flatMap(([name, { model, sets }]) =>
    sets.map(({ inputs, outputs }, i) => ({
      name: i ? `${name}/${i}` : name,
      model: parseModel(bytes(model)),
      inputs: inputs.map(text => decode(text) || null),
      outputs: outputs.map(text => decode(text) || null),
    })),
  );
}

/**
 * The model of a case with some of its inputs as constants, and without the shapes that it declares for its outputs, so
 * that the operators have to find them.
 */
export function withConstants({ model, inputs }: Case, isConstant: (input: number) => boolean): OnnxModel {
  const { graph } = model;
  const fixed = graph.inputs.flatMap((info, i) => {
    const tensor = inputs[i];
    return tensor && isConstant(i) ? [withName(tensor, info.name)] : [];
  });
  const names = new Set(fixed.map(tensor => tensor.name));
  return {
    ...model,
    graph: {
      ...graph,
      inputs: graph.inputs.filter(info => !names.has(info.name)),
      initializers: [...graph.initializers, ...fixed],
      outputs: graph.outputs.map(info => valueInfo(info.name, DataType.UNDEFINED, null)),
      valueInfo: [],
    },
  };
}

/** Elements as numbers. */
export const numbersOf = (tensor: OnnxTensor): number[] =>
  isInteger(tensor.dataType) ? ints(tensor) : Array.from(floats(tensor));

/** A tensor of a file under the engine: real numbers as float32, integers as int64, bool as bool. */
export function engineTensor(torch: Torch, tensor: OnnxTensor): Tensor {
  if (tensor.dataType === DataType.BOOL) return torch.tensor(Uint8Array.from(ints(tensor)), tensor.dims, 'bool');
  if (isInteger(tensor.dataType)) return torch.tensor(BigInt64Array.from(ints(tensor), BigInt), tensor.dims);
  return torch.tensor(Float32Array.from(floats(tensor)), tensor.dims);
}

/** The largest |a - b| / (1 + |b|); infinite where lengths differ or one is no number and the other is. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i]) || a[i] === b[i]) continue;
    const error = Math.abs(a[i] - b[i]) / (1 + Math.abs(b[i]));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst;
}
