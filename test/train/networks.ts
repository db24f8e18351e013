import { GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';

export interface Example {
  readonly model: OnnxModel;
  /** Of one image. */
  readonly input: readonly number[];
}

/** A small network under construction: layers with random parameters, some of them far from their usual start. */
export class Builder {
  readonly graph: GraphBuilder;
  readonly random = stream(5, 'test network');
  readonly input: readonly number[];
  constructor(input: readonly number[], batch: number | string = 'N') {
    this.graph = new GraphBuilder({ name: 'test', opset: 17 });
    this.input = input;
    this.graph.input('x', [batch, ...input]);
  }

  constant(name: string, dims: readonly number[], scale = 1, offset = 0): string {
    const length = dims.reduce((a, b) => a * b, 1);
    return this.graph.initializer(
      name,
      Float32Array.from({ length }, () => offset + scale * this.random.normal()),
      dims,
    );
  }

  ints(name: string, values: readonly number[]): string {
    return this.graph.initializer(name, BigInt64Array.from(values, BigInt), [values.length]);
  }

  conv(x: string, name: string, dims: readonly number[], { bias = false, group = 1 } = {}): string {
    const weight = this.constant(`${name}.weight`, dims, Math.sqrt(2 / (dims[1] * dims[2] * dims[3])));
    const inputs = [x, weight, ...(bias ? [this.constant(`${name}.bias`, [dims[0]], 0.5)] : [])];
    const pad = (dims[2] - 1) / 2;
    return this.graph.node('Conv', inputs, { pads: [pad, pad, pad, pad], group }, { name });
  }

  norm(x: string, name: string, channels: number): string {
    const vector = (part: string, scale: number, offset: number) =>
      this.constant(`${name}.${part}`, [channels], scale, offset);
    const inputs = [
      x,
      vector('weight', 0.2, 1),
      vector('bias', 0.3, 0),
      vector('mean', 0.1, 0),
      vector('var', 0.05, 1),
    ];
    return this.graph.node('BatchNormalization', inputs, {}, { name });
  }

  node(op: string, inputs: readonly string[], attributes: Record<string, number | number[]> = {}): string {
    return this.graph.node(op, inputs, attributes);
  }

  /** Mean over the image and a linear layer to 5 classes. */
  head(x: string, channels: number): Example {
    const pooled = this.node('Flatten', [this.node('GlobalAveragePool', [x])]);
    return this.linear(pooled, channels);
  }

  linear(x: string, features: number): Example {
    const inputs = [x, this.constant('fc.weight', [5, features], 0.5), this.constant('fc.bias', [5], 0.1)];
    return this.finish(this.graph.node('Gemm', inputs, { transB: 1 }, { name: 'fc', output: 'logits' }));
  }

  finish(logits: string): Example {
    this.graph.output(logits, ['N', 5]);
    return { model: this.graph.model(), input: this.input };
  }
}

/** Conv, norm and Relu. */
const block = (b: Builder, x: string, name: string, dims: readonly number[], group = 1): string =>
  b.node('Relu', [b.norm(b.conv(x, name, dims, { group }), `${name}.bn`, dims[0])]);

const zoo = (
  name: string,
  input: readonly [number, number, number],
  options: { width?: number; shortcut?: 'A' | 'B' } = {},
): Example => {
  const [channels, height, width] = input;
  return { model: buildNetwork(name, { classes: 5, channels, size: [height, width], seed: 3, ...options }), input };
};

/** One of each kind of structure that masks and cuts have to agree on. */
export const examples: Readonly<Record<string, () => Example>> = {
  'resnet8, projected shortcuts': () => zoo('resnet8', [3, 8, 8], { width: 4, shortcut: 'B' }),
  'resnet8, padded shortcuts': () => zoo('resnet8', [3, 8, 8], { width: 4, shortcut: 'A' }),
  'vgg11-bn': () => zoo('vgg11-bn', [3, 32, 32], { width: 4 }),
  lenet5: () => zoo('lenet5', [1, 16, 16]),
  mlp: () => zoo('mlp-24-16', [1, 6, 6]),
  'wrn-10-1, several mask points for one group': () => zoo('wrn-10-1', [3, 8, 8]),

  'biased convolutions without normalisation'() {
    const b = new Builder([3, 6, 6]);
    const x = b.node('Relu', [b.conv('x', 'a', [8, 3, 3, 3], { bias: true })]);
    return b.head(b.node('Tanh', [b.conv(x, 'b', [6, 8, 3, 3], { bias: true })]), 6);
  },
  'Sigmoid and Exp, which do not keep zero'() {
    const b = new Builder([3, 6, 6]);
    const x = b.node('Sigmoid', [b.norm(b.conv('x', 'a', [8, 3, 3, 3]), 'a.bn', 8)]);
    const y = b.node('Exp', [b.conv(x, 'b', [6, 8, 3, 3])]);
    return b.head(block(b, b.node('MaxPool', [y], { kernel_shape: [2, 2], strides: [2, 2] }), 'c', [7, 6, 3, 3]), 7);
  },
  'squeeze and excitation'() {
    const b = new Builder([3, 6, 6]);
    const x = block(b, 'x', 'a', [8, 3, 3, 3]);
    const squeezed = b.node('Relu', [
      b.conv(b.node('GlobalAveragePool', [x]), 'squeeze', [4, 8, 1, 1], { bias: true }),
    ]);
    const gate = b.node('Sigmoid', [b.conv(squeezed, 'excite', [8, 4, 1, 1], { bias: true })]);
    return b.head(block(b, b.node('Mul', [x, gate]), 'c', [6, 8, 3, 3]), 6);
  },
  'a gate in front': () => {
    const b = new Builder([3, 6, 6]);
    const gate = b.node('Sigmoid', [b.conv('x', 'gate', [8, 3, 3, 3], { bias: true })]);
    const x = b.node('Tanh', [b.conv('x', 'a', [8, 3, 3, 3])]);
    return b.head(block(b, b.node('Mul', [gate, x]), 'c', [6, 8, 3, 3]), 6);
  },
  'depthwise and grouped convolutions'() {
    const b = new Builder([3, 6, 6]);
    const x = block(b, 'x', 'a', [8, 3, 3, 3]);
    const y = block(b, x, 'depthwise', [8, 1, 3, 3], 8);
    const z = block(b, y, 'grouped', [12, 4, 3, 3], 2);
    return b.head(block(b, z, 'c', [6, 12, 1, 1]), 6);
  },
  'concatenated branches'() {
    const b = new Builder([3, 6, 6]);
    const x = block(b, 'x', 'a', [6, 3, 3, 3]);
    const y = b.node('Concat', [x, block(b, x, 'b', [4, 6, 3, 3])], { axis: 1 });
    return b.head(block(b, b.node('Relu', [b.norm(y, 'join', 10)]), 'c', [6, 10, 3, 3]), 6);
  },
  'constants that are no parameters'() {
    const b = new Builder([3, 6, 6]);
    const half = b.graph.initializer('half', Float32Array.of(0.5), []);
    const x = b.node('Mul', [b.norm(b.conv('x', 'a', [8, 3, 3, 3]), 'a.bn', 8), half]);
    const floor = b.constant('floor', [8, 1, 1], 0.3);
    const y = block(b, b.node('Max', [x, floor]), 'b', [6, 8, 3, 3]);
    const [low, high] = [0, 6].map(value => b.graph.initializer(`clip${value}`, Float32Array.of(value), []));
    return b.head(b.node('Clip', [b.conv(y, 'c', [6, 6, 3, 3]), low, high]), 6);
  },
  'normalised images, and a walled normalisation'() {
    const b = new Builder([3, 6, 6]);
    const x = block(b, b.norm('x', 'images', 3), 'a', [8, 3, 3, 3]);
    const { graph } = b;
    const logits = b.conv(x, 'c', [5, 8, 5, 5]);
    return b.finish(
      graph.node('Flatten', [b.norm(b.node('GlobalAveragePool', [logits]), 'last', 5)], {}, { output: 'logits' }),
    );
  },
  'two masked axes of one value'() {
    const b = new Builder([3, 4, 4]);
    const rows = (x: string, channels: number, name: string) => b.node('Reshape', [x, b.ints(name, [0, channels, 16])]);
    const p = rows(b.conv('x', 'a', [8, 3, 3, 3]), 8, 'a.rows');
    const q = b.node('Transpose', [rows(b.conv('x', 'b', [6, 3, 3, 3]), 6, 'b.rows')], { perm: [0, 2, 1] });
    const products = b.node('Sigmoid', [b.node('MatMul', [p, q])]); // [N, 8, 6]
    const left = b.node('MatMul', [products, b.constant('w1', [6, 4], 0.5)]); // [N, 8, 4]
    const right = b.node('MatMul', [b.node('Transpose', [left], { perm: [0, 2, 1] }), b.constant('w2', [8, 5], 0.5)]);
    return b.finish(b.graph.node('ReduceMean', [right], { axes: [1], keepdims: 0 }, { output: 'logits' }));
  },
};
