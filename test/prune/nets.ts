import { expect } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import {
  type AttributeInput,
  type Dimension,
  float,
  GraphBuilder,
  type GraphBuilderOptions,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  tensorOf,
  valueInfo,
} from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { type Coupling, type CouplingOptions, coupleGraph } from '../../src/prune/groups.ts';
import type { KeptChannels } from '../../src/prune/plan.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { openModel } from '../../src/runtime/session.ts';
import { type Random, stream } from '../../src/util/random.ts';

/** Small graphs with weights of -1, 0 and 1, so that float32 is exact as long as sums stay below 2^24. */
export class Net extends GraphBuilder {
  readonly #random: Random;
  readonly #inNodes: boolean;
  #count = 0;

  constructor(options: NetOptions = {}) {
    super({ name: 'net', ...options });
    this.#random = stream(options.seed ?? 1, 'weights');
    this.#inNodes = options.weightsInNodes ?? false;
  }

  /** A name with a number. */
  unique(base: string): string {
    return `${base}${this.#count++}`;
  }

  /** A constant of -1, 0 and 1 in an order that no two channels share. */
  weight(name: string, dims: readonly number[]): string {
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => this.#random.int(3) - 1);
    if (!this.#inNodes) return this.initializer(name, values, dims);
    return this.node('Constant', [], { value: tensorOf('', values, dims) }, { name: `${name}.node`, output: name });
  }

  ints(name: string, ...values: number[]): string {
    return this.initializer(name, BigInt64Array.from(values, wide), [values.length]);
  }

  /** A convolution `<name>` with `<name>.weight` and `<name>.bias`; 3x3 with pads 1 unless the options say otherwise. */
  conv(x: string, from: number, to: number, options: ConvOptions = {}): string {
    const { name = this.unique('conv'), kernel = 3, group = 1, bias = true, attributes } = options;
    const inputs = [x, this.weight(`${name}.weight`, [to, from / group, kernel, kernel])];
    if (bias) inputs.push(this.weight(`${name}.bias`, [to]));
    const pad = kernel >> 1;
    return this.node('Conv', inputs, { pads: [pad, pad, pad, pad], group, ...attributes }, { name, output: name });
  }

  linear(x: string, from: number, to: number, name = this.unique('fc')): string {
    const inputs = [x, this.weight(`${name}.weight`, [to, from]), this.weight(`${name}.bias`, [to])];
    return this.node('Gemm', inputs, { transB: 1 }, { name, output: name });
  }

  /** With epsilon 0 and variance 1, so that it stays exact. */
  norm(x: string, channels: number, name = this.unique('bn')): string {
    const variance = this.initializer(`${name}.variance`, new Float32Array(channels).fill(1), [channels]);
    const vectors = ['scale', 'shift', 'mean'].map(part => this.weight(`${name}.${part}`, [channels]));
    return this.node('BatchNormalization', [x, ...vectors, variance], { epsilon: float(0) }, { name, output: name });
  }

  op(
    type: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeInput>> = {},
    name?: string,
  ) {
    const called = name ?? this.unique(type.toLowerCase());
    return this.node(type, inputs, attributes, { name: called, output: called });
  }
}

export interface NetOptions extends GraphBuilderOptions {
  readonly seed?: number;
  /** Weights in Constant nodes instead of initializers. */
  readonly weightsInNodes?: boolean;
}

interface ConvOptions {
  readonly name?: string;
  readonly kernel?: number;
  readonly group?: number;
  readonly bias?: boolean;
  readonly attributes?: Readonly<Record<string, AttributeInput>>;
}

/** The numbers at the ends of int64 stand for themselves. */
const wide = (value: number): bigint => {
  if (value >= Number.MAX_SAFE_INTEGER) return 2n ** 63n - 1n;
  return value <= Number.MIN_SAFE_INTEGER ? -(2n ** 63n) : BigInt(value);
};

/** A net with the input X [1, 3, 8, 8] (or another shape) whose outputs are what `build` returns. */
export function netOf(
  build: (g: Net, x: string) => string | readonly string[],
  options: NetOptions & { readonly shape?: readonly Dimension[] } = {},
): OnnxModel {
  const g = new Net(options);
  const outputs = [build(g, g.input('X', options.shape ?? [1, 3, 8, 8]))].flat();
  for (const output of outputs) g.output(output);
  const model = g.model();
  return (options.irVersion ?? 8) < 4 ? listingInitializers(model) : model;
}

/** With every initializer among the inputs, as files up to IR version 3 have it. */
function listingInitializers(model: OnnxModel): OnnxModel {
  const listed = model.graph.initializers.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims));
  return { ...model, graph: { ...model.graph, inputs: [...model.graph.inputs, ...listed] } };
}

/** A head that sums over the channels of an image. */
export const head = (g: Net, x: string, channels: number) =>
  g.linear(g.op('Flatten', [g.op('GlobalAveragePool', [x])]), channels, 10, 'head');

export const couplingOf = (model: OnnxModel, options?: CouplingOptions): Coupling =>
  coupleGraph(buildGraph(model, operators), options);

/** Groups as `name: size`. */
export const sizes = ({ groups }: Coupling): Record<string, number> =>
  Object.fromEntries(groups.map(({ name, size }) => [name, size]));

/** Why channels stay, by group name. */
export const reasons = ({ walled }: Coupling): Record<string, string> =>
  Object.fromEntries(walled.map(({ name, reason }) => [name, reason]));

/** Which axes a group lies on: `value axis` or, where a channel is there several times, `value axis xN`. */
export const membersOf = ({ groups }: Coupling, name: string): string[] =>
  groups
    .find(group => group.name === name)!
    .members.map(({ value, axis, multiplicity }) => `${value} ${axis}${multiplicity > 1 ? ` x${multiplicity}` : ''}`)
    .sort();

/** At least one channel of every group stays; unless a group is small, at least one goes. */
export function randomPlan({ groups }: Coupling, random: Random): number[][] {
  return groups.map(({ size }) => {
    const count = 1 + random.int(Math.max(1, size - 1));
    return [...random.permutation(size).slice(0, count)].sort((a, b) => a - b);
  });
}

export const everything = ({ groups }: Coupling): KeptChannels =>
  groups.map(({ size }) => Array.from({ length: size }, (_, i) => i));

/** Outputs in ONNX Runtime for inputs of -1, 0 and 1; symbolic lengths are 2. */
export async function outputsOf(
  model: OnnxModel,
  seed = 7,
): Promise<Record<string, { shape: readonly number[]; data: number[] }>> {
  const session = await openModel(model, { optimize: 'none' });
  try {
    const feeds = session.inputs.map(({ name, type, shape }) => {
      const dims = shape.map(dim => (typeof dim === 'number' ? dim : 2));
      const random = stream(seed, name);
      const length = dims.reduce((a, b) => a * b, 1);
      if (type === 'bool')
        return [name, { type, shape: dims, data: Uint8Array.from({ length }, () => random.int(2)) }] as const;
      return [
        name,
        { type: 'float32', shape: dims, data: Float32Array.from({ length }, () => random.int(3) - 1) },
      ] as const;
    });
    const results = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(
      Object.entries(results).map(([name, { shape, data }]) => [
        name,
        { shape, data: Array.from(data as Float32Array) },
      ]),
    );
  } finally {
    await session.dispose();
  }
}

/**
 * Cut a net by a plan and see that its outputs are exactly those of the full net with its consumers zeroed.
 * @returns the cut file
 */
export async function exactCut(model: OnnxModel, kept: KeptChannels, options?: CouplingOptions): Promise<OnnxModel> {
  const coupling = couplingOf(model, options);
  expect(kept).toHaveLength(coupling.groups.length);
  const cut = cutModel(coupling, kept);
  expect(await outputsOf(cut)).toEqual(await outputsOf(zeroConsumers(coupling, kept)));
  return cut;
}

/** Two convolutions with `between` in the middle: group `a.weight` of 8 channels. */
export const around = (
  between: (g: Net, a: string) => string,
  channels = 8,
  options: Parameters<typeof netOf>[1] = {},
): OnnxModel =>
  netOf((g, x) => g.conv(between(g, g.conv(x, 3, 8, { name: 'a' })), channels, 4, { name: 'b' }), options);

export const initializer = (model: OnnxModel, name: string): OnnxTensor =>
  model.graph.initializers.find(tensor => tensor.name === name)!;

export const nodeOf = (model: OnnxModel, name: string): NodeProto =>
  model.graph.nodes.find(candidate => candidate.name === name)!;
