import { create } from '@bufbuild/protobuf';
import { DataType } from './data-type.ts';
import { type ElementArray, tensorOf } from './elements.ts';
import type { OnnxGraph, OnnxModel } from './model.ts';
import { type AttributeInput, makeNode, type NodeDetail } from './node.ts';
import { type GraphProto, GraphProtoSchema, type NodeProto, type ValueInfoProto } from './onnx_pb.ts';
import { type OnnxTensor, protoFromTensor } from './tensor.ts';
import { type Dimension, valueInfo } from './value-info.ts';

export interface GraphBuilderOptions {
  /** Name of the graph. */
  readonly name?: string;
  /** Version of the standard operator set. */
  readonly opset?: number;
  readonly irVersion?: number;
  /** Other domains by version, `{ 'com.microsoft': 1 }`. */
  readonly domains?: Readonly<Record<string, number>>;
}

/** What a node may say when it is built. Without a name it is called after its operator and place, `Conv_3`. */
export interface BuildDetail extends NodeDetail {
  /** Name of the only output. */
  readonly output?: string;
  /** Names or number of several outputs; `''` for one that is not wanted. */
  readonly outputs?: number | readonly string[];
}

type Attributes = Readonly<Record<string, AttributeInput | undefined>>;

/**
 * Builds a graph front to back; values are their names.
 *
 *     const g = new GraphBuilder({ name: 'net', opset: 17 });
 *     const x = g.input('input', ['N', 3, 32, 32]);
 *     const w = g.initializer('conv.weight', weights, [16, 3, 3, 3]);
 *     const y = g.node('Conv', [x, w], { pads: [1, 1, 1, 1] });
 *     g.output(y, ['N', 16, 32, 32]);
 *     writeModel(g.model(), 'net.onnx');
 */
export class GraphBuilder {
  readonly #options: GraphBuilderOptions;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: OnnxTensor[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #values: ValueInfoProto[] = [];

  constructor(options: GraphBuilderOptions = {}) {
    this.#options = options;
  }

  /** A graph input. Strings in the shape are symbolic lengths, null an unknown one. */
  input(name: string, shape: readonly Dimension[] | null, elemType: number = DataType.FLOAT): string {
    this.#inputs.push(valueInfo(name, elemType, shape));
    return name;
  }

  /** A constant with raw data; see `tensorOf`. */
  initializer(name: string, data: ElementArray, dims: readonly number[], dataType?: number): string;
  initializer(name: string, data: readonly number[], dims: readonly number[], dataType: number): string;
  initializer(
    name: string,
    data: ElementArray | readonly number[],
    dims: readonly number[],
    dataType?: number,
  ): string {
    return this.tensor(tensorOf(name, data as number[], dims, dataType as number));
  }

  /** A constant that is there already. */
  tensor(tensor: OnnxTensor): string {
    this.#initializers.push(tensor);
    return tensor.name;
  }

  /**
   * A node; gives the name of its output, or the names when `extra.outputs` asks for several. Outputs without names are
   * called after the node.
   */
  node(
    op: string,
    inputs: readonly string[],
    attributes?: Attributes,
    extra?: BuildDetail & { outputs?: undefined },
  ): string;
  node(
    op: string,
    inputs: readonly string[],
    attributes: Attributes,
    extra: BuildDetail & { outputs: number | readonly string[] },
  ): string[];
  node(op: string, inputs: readonly string[], attributes: Attributes = {}, extra: BuildDetail = {}): string | string[] {
    const { output, outputs, ...detail } = extra;
    const name = detail.name ?? `${op}_${this.#nodes.length}`;
    const names =
      outputs === undefined
        ? [output ?? `${name}_output`]
        : typeof outputs === 'number'
          ? Array.from({ length: outputs }, (_, i) => `${name}_output_${i}`)
          : [...outputs];
    this.#nodes.push(makeNode(op, inputs, names, attributes, { ...detail, name }));
    return outputs === undefined ? names[0] : names;
  }

  /** Declares a value as a graph output. */
  output(name: string, shape: readonly Dimension[] | null = null, elemType: number = DataType.FLOAT): string {
    this.#outputs.push(valueInfo(name, elemType, shape));
    return name;
  }

  /** Declares the shape of a value between the nodes. */
  value(name: string, shape: readonly Dimension[] | null, elemType: number = DataType.FLOAT): string {
    this.#values.push(valueInfo(name, elemType, shape));
    return name;
  }

  /** The graph so far. */
  graph(): OnnxGraph {
    return {
      name: this.#options.name ?? 'graph',
      nodes: [...this.#nodes],
      initializers: [...this.#initializers],
      inputs: [...this.#inputs],
      outputs: [...this.#outputs],
      valueInfo: [...this.#values],
    };
  }

  /** The graph so far as a message, for the attribute of an If or a Loop. */
  graphProto(): GraphProto {
    const { name, nodes, initializers, inputs, outputs, valueInfo: values } = this.graph();
    return create(GraphProtoSchema, {
      name,
      node: [...nodes],
      initializer: initializers.map(protoFromTensor),
      input: [...inputs],
      output: [...outputs],
      valueInfo: [...values],
    });
  }

  /** The model so far: opset 17 and IR version 8 unless the options say otherwise. */
  model(extra: { readonly metadata?: Readonly<Record<string, string>> } = {}): OnnxModel {
    const { opset = 17, irVersion = 8, domains = {} } = this.#options;
    return {
      irVersion,
      opsets: new Map([['', opset], ...Object.entries(domains)]),
      metadata: new Map(Object.entries(extra.metadata ?? {})),
      functions: new Set(),
      graph: this.graph(),
    };
  }
}
