import type { NodeProto, ValueInfoProto } from './onnx_pb.ts';
import type { ModelOrigin } from './origin.ts';
import type { OnnxTensor } from './tensor.ts';
import type { WireField } from './wire.ts';

/**
 * An ONNX file as plain, immutable data. Change it by building new objects (`{ ...model, graph: { ...model.graph, nodes } }`):
 * objects that are the very ones that were read are written back as their original bytes, so untouched parts survive
 * bit for bit, unknown fields included.
 */
export interface OnnxModel {
  /** Where it was read from; external data is relative to its folder. */
  readonly path?: string;
  readonly irVersion: number;
  /** Operator set version by domain; the standard domain is `''` (also when the file writes `ai.onnx`). */
  readonly opsets: ReadonlyMap<string, number>;
  /** `metadata_props` */
  readonly metadata: ReadonlyMap<string, string>;
  /** Names of model-local functions as `domain::name`. */
  readonly functions: ReadonlySet<string>;
  readonly graph: OnnxGraph;
  /** Set by reading; spread it along. Absent in a model that was built. */
  readonly origin?: ModelOrigin;
}

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly OnnxTensor[];
  /** Declared inputs, including initializers that the file lists as inputs too (IR version 3). */
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly valueInfo: readonly ValueInfoProto[];
  /** Names of sparse initializers, which are kept in the file but not decoded. */
  readonly sparseInitializers?: readonly string[];
  /** All fields of the file's graph, set by reading; spread it along. Absent in a graph that was built. */
  readonly origin?: readonly WireField[];
}
