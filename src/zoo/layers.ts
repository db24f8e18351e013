import type { GraphBuilder } from '../onnx/build.ts';
import { type AttributeInput, float } from '../onnx/node.ts';
import { stream } from '../util/random.ts';
import { constant, type Initialiser } from './init.ts';

/** A network under construction. */
export interface Net {
  readonly graph: GraphBuilder;
  readonly seed: number;
  /** Whether parameters get their initial values; otherwise they stay zero. */
  readonly initialise: boolean;
}

/** A value of the graph: its name, and its shape without the batch axis: `[C, H, W]` or `[F]`. */
export interface Activation {
  readonly value: string;
  readonly shape: readonly number[];
}

/** Node name of an operator inside a module, as PyTorch's exporter writes it: `/layer1/layer1.0/conv1/Conv`. */
function nodeName(module: string, operator: string): string {
  const scopes: string[] = [];
  let parent = '';
  for (const part of module.split('.').filter(Boolean)) {
    // A child of a Sequential has only a number; the exporter puts the parent's name before it.
    parent = /^\d+$/.test(part) ? `${parent}.${part}` : part;
    scopes.push(parent);
  }
  return `/${[...scopes, operator].join('/')}`;
}

function node(
  net: Net,
  operator: string,
  module: string,
  inputs: readonly string[],
  attributes: Readonly<Record<string, AttributeInput>> = {},
  output?: string,
): string {
  const name = nodeName(module, operator);
  return net.graph.node(operator, inputs, attributes, { name, output: output ?? `${name}_output_0` });
}

function parameter(net: Net, name: string, shape: readonly number[], initialiser: Initialiser): string {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  if (net.initialise) initialiser(values, shape, stream(net.seed, 'init', name));
  return net.graph.initializer(name, values, shape);
}

const indices = (net: Net, name: string, values: readonly (number | bigint)[]): string =>
  net.graph.initializer(name, BigInt64Array.from(values, BigInt), [values.length]);

const sizeAfter = (size: number, kernel: number, stride: number, pad: number) =>
  Math.floor((size + 2 * pad - kernel) / stride) + 1;

/** Settings of a convolution with a square kernel, stride and padding. */
export interface ConvOptions {
  /** Output channels. */
  readonly out: number;
  readonly kernel: number;
  readonly stride?: number;
  /** Zeros added on each side. */
  readonly pad?: number;
  readonly weight: Initialiser;
  /** No bias where it is left out. */
  readonly bias?: Initialiser;
}

/** Convolution `[C, H, W] -> [out, H', W']` with parameters `module.weight` and, if asked for, `module.bias`. */
export function conv(net: Net, x: Activation, module: string, options: ConvOptions): Activation {
  const { out, kernel, stride = 1, pad = 0, weight, bias } = options;
  const inputs = [x.value, parameter(net, `${module}.weight`, [out, x.shape[0], kernel, kernel], weight)];
  if (bias) inputs.push(parameter(net, `${module}.bias`, [out], bias));
  const value = node(net, 'Conv', module, inputs, {
    dilations: [1, 1],
    group: 1,
    kernel_shape: [kernel, kernel],
    pads: [pad, pad, pad, pad],
    strides: [stride, stride],
  });
  return { value, shape: [out, ...x.shape.slice(1).map(size => sizeAfter(size, kernel, stride, pad))] };
}

/** Batch normalisation over the channels, initially the identity: PyTorch's epsilon 1e-5 and momentum (0.9 in ONNX). */
export function batchNorm(net: Net, x: Activation, module: string): Activation {
  const vector = (name: string, value: number) =>
    parameter(net, `${module}.${name}`, x.shape.slice(0, 1), constant(value));
  const inputs = [x.value, vector('weight', 1), vector('bias', 0), vector('running_mean', 0), vector('running_var', 1)];
  return { ...x, value: node(net, 'BatchNormalization', module, inputs, { epsilon: 1e-5, momentum: 0.9 }) };
}

/** max(x, 0) */
export const relu = (net: Net, x: Activation, module: string): Activation => ({
  ...x,
  value: node(net, 'Relu', module, [x.value]),
});

/** Sum of two values of one shape; the node belongs to the enclosing block. */
export const add = (net: Net, a: Activation, b: Activation, block: string): Activation => ({
  ...a,
  value: node(net, 'Add', block, [a.value, b.value]),
});

/** Dropout with probability 0.5 in training, ONNX's default as well as PyTorch's; the identity otherwise. */
export const dropout = (net: Net, x: Activation, module: string): Activation => ({
  ...x,
  value: node(net, 'Dropout', module, [x.value]),
});

/** Maximum over square windows. */
export function maxPool(
  net: Net,
  x: Activation,
  module: string,
  { kernel, stride, pad = 0 }: { kernel: number; stride: number; pad?: number },
): Activation {
  const value = node(net, 'MaxPool', module, [x.value], {
    kernel_shape: [kernel, kernel],
    pads: [pad, pad, pad, pad],
    strides: [stride, stride],
  });
  return { value, shape: [x.shape[0], ...x.shape.slice(1).map(size => sizeAfter(size, kernel, stride, pad))] };
}

/** Mean over height and width, as a vector: `[C, H, W] -> [C]`. */
export function globalAveragePool(net: Net, x: Activation, module: string): Activation {
  const value = node(net, 'GlobalAveragePool', module, [x.value]);
  return flatten(net, { value, shape: [x.shape[0], 1, 1] });
}

/** First row of the window of each output row, and the row after its last, as PyTorch's adaptive pooling sets them. */
const adaptiveWindows = (size: number, out: number) =>
  Array.from({ length: out }, (_, i) => [Math.floor((i * size) / out), Math.ceil(((i + 1) * size) / out)] as const);

/** Kernel and stride that give exactly these windows, where all are of one size and evenly spaced. */
function regularWindows(windows: readonly (readonly [number, number])[]): readonly [number, number] | undefined {
  const kernel = windows[0][1];
  const stride = windows.length > 1 ? windows[1][0] : 1;
  const regular = windows.every(([from, to], i) => from === i * stride && to === from + kernel);
  return regular && stride > 0 ? [kernel, stride] : undefined;
}

/**
 * PyTorch's adaptive average pooling to `[C, out, out]`, exact for every input size.
 * ONNX has no such operator. Where the windows are of one size it is an AveragePool; elsewhere each window's rows
 * (and columns) are first repeated to the least common multiple of the two window sizes, so that they all weigh the same.
 */
export function adaptiveAveragePool(net: Net, x: Activation, module: string, out: number): Activation {
  if (x.shape[1] === out && x.shape[2] === out) return x;
  let value = x.value;
  const pools = x.shape.slice(1).map((size, i) => {
    const windows = adaptiveWindows(size, out);
    const regular = regularWindows(windows);
    if (regular) return regular;
    const shortest = Math.min(...windows.map(([from, to]) => to - from));
    const longest = Math.max(...windows.map(([from, to]) => to - from));
    const length = shortest === longest ? longest : shortest * longest;
    const rows = windows.flatMap(([from, to]) =>
      Array.from({ length }, (_, j) => from + Math.floor((j * (to - from)) / length)),
    );
    const axis = ['rows', 'columns'][i];
    value = node(net, 'Gather', `${module}.${axis}`, [value, indices(net, `${module}.${axis}`, rows)], { axis: i + 2 });
    return [length, length] as const;
  });
  value = node(net, 'AveragePool', module, [value], {
    kernel_shape: pools.map(([kernel]) => kernel),
    strides: pools.map(([, stride]) => stride),
  });
  return { value, shape: [x.shape[0], out, out] };
}

/** All values of an image as one vector. */
export const flatten = (net: Net, x: Activation): Activation => ({
  value: node(net, 'Flatten', '', [x.value], { axis: 1 }),
  shape: [x.shape.reduce((a, b) => a * b, 1)],
});

/** Settings of a linear layer. */
export interface LinearOptions {
  readonly out: number;
  readonly weight: Initialiser;
  readonly bias: Initialiser;
  /** Name of the result, when it is an output of the graph. */
  readonly output?: string;
}

/** Linear layer `[F] -> [out]` with parameters `module.weight` [out, F] and `module.bias`. */
export function linear(net: Net, x: Activation, module: string, options: LinearOptions): Activation {
  const { out, weight, bias, output } = options;
  const inputs = [
    x.value,
    parameter(net, `${module}.weight`, [out, x.shape[0]], weight),
    parameter(net, `${module}.bias`, [out], bias),
  ];
  return {
    value: node(net, 'Gemm', module, inputs, { alpha: float(1), beta: float(1), transB: 1 }, output),
    shape: [out],
  };
}

/**
 * Shortcut A of the CIFAR ResNets: every second row and column, the new channels zero, half of them on either side
 * (He et al., 2016, section 4.2): `[C, H, W] -> [out, ceil(H / 2), ceil(W / 2)]`.
 */
export function paddedShortcut(net: Net, x: Activation, module: string, out: number): Activation {
  const end = 2n ** 63n - 1n; // ONNX: to the end of the axis
  const sliced = node(net, 'Slice', module, [
    x.value,
    indices(net, `${module}.starts`, [0, 0]),
    indices(net, `${module}.ends`, [end, end]),
    indices(net, `${module}.axes`, [2, 3]),
    indices(net, `${module}.steps`, [2, 2]),
  ]);
  const before = Math.floor((out - x.shape[0]) / 2);
  const pads = indices(net, `${module}.pads`, [0, before, 0, 0, 0, out - x.shape[0] - before, 0, 0]);
  const value = node(net, 'Pad', module, [sliced, pads], { mode: 'constant' });
  return { value, shape: [out, ...x.shape.slice(1).map(size => Math.ceil(size / 2))] };
}
