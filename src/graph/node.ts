import { type AttributeValue, attributesOf, type NodeProto, type OnnxModel, type OnnxTensor } from '../onnx/index.ts';
import { normalAxis } from './axes.ts';
import {
  type AxisRef,
  type Const,
  type NodeView,
  type Operator,
  type OperatorTable,
  type Shape,
  UnknownShape,
  type ValueType,
} from './operator.ts';
import { captured } from './order.ts';

/** A node of a graph: its operator's view of it, and where it stands in the file. */
export interface GraphNode extends NodeView {
  readonly index: number;
  readonly domain: string;
  readonly proto: NodeProto;
  /** null: there is no record for this operator. */
  readonly operator: Operator | null;
  /** Values of the main graph that its sub-graphs (If, Loop, Scan) read by name. */
  readonly captures: readonly string[];
}

/** What is known of a graph's values. */
export interface Known {
  readonly types: Map<string, ValueType>;
  readonly constants: Map<string, Const>;
  readonly fixed: Set<string>;
  readonly tensors: Map<string, OnnxTensor>;
}

const unknownType: ValueType = { elemType: 0, shape: null };

/** A node of a file. A class, since graphs have a hundred thousand of them: functions of its own would take megabytes. */
export class FileNode implements GraphNode {
  readonly index: number;
  readonly proto: NodeProto;
  readonly domain: string;
  readonly operator: Operator | null;
  readonly captures: readonly string[];
  readonly version: number;
  readonly #known: Known;
  readonly #attributes: ReadonlyMap<string, AttributeValue>;

  /** @param known of the values that it reads; what is found out later counts too */
  constructor(proto: NodeProto, index: number, model: OnnxModel, table: OperatorTable, known: Known) {
    const domain = proto.domain === 'ai.onnx' ? '' : proto.domain;
    const key = `${domain}::${proto.opType}`;
    this.index = index;
    this.proto = proto;
    this.domain = domain;
    this.operator = model.functions.has(key) ? null : (table.get(key) ?? null);
    this.captures = captured(proto);
    this.version = model.opsets.get(domain) ?? 1;
    this.#known = known;
    this.#attributes = attributesOf(proto);
  }

  get name(): string {
    return this.proto.name || `${this.proto.opType}_${this.index}`;
  }

  get opType(): string {
    return this.proto.opType;
  }

  get inputs(): readonly string[] {
    return this.proto.input;
  }

  get outputs(): readonly string[] {
    return this.proto.output;
  }

  has(input: number): boolean {
    return Boolean(this.inputs[input]);
  }

  attribute(name: string): AttributeValue | undefined {
    return this.#attributes.get(name);
  }

  int(name: string, otherwise: number): number {
    const value = this.#attributes.get(name);
    return typeof value === 'number' ? value : otherwise;
  }

  float(name: string, otherwise: number): number {
    return this.int(name, otherwise);
  }

  string(name: string, otherwise: string): string {
    const value = this.#attributes.get(name);
    return typeof value === 'string' ? value : otherwise;
  }

  ints(name: string): readonly number[] | null {
    const value = this.#attributes.get(name);
    return Array.isArray(value) ? (value as readonly number[]) : null;
  }

  type(input: number): ValueType {
    return this.#known.types.get(this.inputs[input]) ?? unknownType;
  }

  shape(input: number): Shape {
    return this.#shapeOf(this.inputs[input]);
  }

  outputShape(output: number): Shape {
    return this.#shapeOf(this.outputs[output]);
  }

  constant(input: number): Const | null {
    const value = this.inputs[input];
    return value ? (this.#known.constants.get(value) ?? null) : null;
  }

  constantInts(input: number): number[] | null {
    const values = this.constant(input)?.values;
    return values?.every(value => typeof value === 'number') ? (values as number[]) : null;
  }

  axis(input: number, axis: number): AxisRef {
    return this.#axisOf(this.inputs[input], axis);
  }

  outputAxis(output: number, axis: number): AxisRef {
    return this.#axisOf(this.outputs[output], axis);
  }

  isConstant(input: number): boolean {
    const value = this.inputs[input];
    return Boolean(value) && this.#known.fixed.has(value);
  }

  #shapeOf(value: string): Shape {
    const shape = this.#known.types.get(value)?.shape;
    if (!shape) throw new UnknownShape();
    return shape;
  }

  #axisOf(value: string, axis: number): AxisRef {
    const rank = this.#known.types.get(value)?.shape?.length ?? (axis < 0 ? this.#shapeOf(value).length : axis + 1);
    return { value, axis: normalAxis(axis, rank) };
  }
}
