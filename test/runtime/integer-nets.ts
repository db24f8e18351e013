import { GraphBuilder, type OnnxModel, tensorOf } from '../../src/onnx/index.ts';

/** Whole numbers from -1 to 1 by a fixed formula: float32 sums of them are exact. */
export const smallIntegers = (length: number, salt: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => (((i + 1) * (2 * salt + 3) * 7919) % 11) % 3).map(x => x - 1);

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** A builder whose constants are small whole numbers, and the layers that tests are made of. */
export function integerGraph(name: string, irVersion = 8) {
  const g = new GraphBuilder({ name, opset: 17, irVersion });
  let salt = 0;
  const weight = (label: string, ...dims: number[]) => g.initializer(label, smallIntegers(product(dims), salt++), dims);
  const inNode = (label: string, ...dims: number[]) =>
    g.node('Constant', [], { value: tensorOf('', smallIntegers(product(dims), salt++), dims) }, { output: label });
  const conv = (x: string, label: string, dims: readonly [number, number, number], group = 1) => {
    const [out, into, kernel] = dims;
    const inputs = [x, weight(`${label}.weight`, out, into, kernel, kernel), weight(`${label}.bias`, out)];
    const pads = Array<number>(4).fill((kernel - 1) / 2);
    return g.node('Conv', inputs, { pads, group }, { name: label, output: `${label}.out` });
  };
  const relu = (x: string) => g.node('Relu', [x]);
  const ints = (label: string, ...values: number[]) =>
    g.initializer(label, BigInt64Array.from(values, BigInt), [values.length]);
  return { g, weight, inNode, conv, relu, ints };
}

/** Two convolutions and a head: groups of 8 and 6 channels. */
export function chainNet(batch: number | string = 'N', irVersion = 8): OnnxModel {
  const { g, weight, conv, relu } = integerGraph('chain', irVersion);
  const x = g.input('X', [batch, 3, 8, 8]);
  const a = relu(conv(x, 'a', [8, 3, 3]));
  const b = relu(conv(a, 'b', [6, 8, 3]));
  const flat = g.node('Flatten', [g.node('MaxPool', [b], { kernel_shape: [8, 8] })]);
  g.node('Gemm', [flat, weight('head.weight', 5, 6), weight('head.bias', 5)], { transB: 1 }, { output: 'Y' });
  g.output('Y', [batch, 5]);
  const model = g.model();
  if (irVersion >= 4) return model;
  // Up to IR version 3 initializers are inputs too.
  const listed = new GraphBuilder();
  for (const { name, dims, dataType } of model.graph.initializers) listed.input(name, dims, dataType);
  return { ...model, graph: { ...model.graph, inputs: [...model.graph.inputs, ...listed.graph().inputs] } };
}

type Net = ReturnType<typeof integerGraph>;

/** A body between `X` [2, 3, 8, 8] and its output `Y`. */
function net(name: string, body: (net: Net, x: string) => string): OnnxModel {
  const built = integerGraph(name);
  const x = built.g.input('X', [2, 3, 8, 8]);
  built.g.output(built.g.node('Identity', [body(built, x)], {}, { output: 'Y' }));
  return built.g.model();
}

const flatten = ({ g }: Net, x: string) => g.node('Flatten', [g.node('MaxPool', [x], { kernel_shape: [8, 8] })]);

/** One net for each way in which channels reach what sums over them. */
export const integerNets: Readonly<Record<string, () => OnnxModel>> = {
  chain: () => chainNet(),
  'IR version 3': () => chainNet('N', 3),
  'a weight that is used twice': () =>
    net('twice', (k, x) => {
      const { g, conv, relu, weight } = k;
      const w = weight('shared', 5, 8, 1, 1);
      const a = g.node('Conv', [relu(conv(x, 'a', [8, 3, 3])), w]);
      const b = g.node('Conv', [relu(conv(x, 'b', [8, 3, 1])), w]);
      return g.node('Add', [a, b]);
    }),
  'a weight in a Constant node': () =>
    net('constant', (k, x) => k.g.node('Conv', [k.relu(k.conv(x, 'a', [8, 3, 3])), k.inNode('w', 4, 8, 1, 1)])),
  'a weight through Transpose': () =>
    net('transposed', (k, x) => {
      const w = k.g.node('Transpose', [k.weight('w', 5, 8)], { perm: [1, 0] });
      return k.g.node('MatMul', [flatten(k, k.relu(k.conv(x, 'a', [8, 3, 3]))), w]);
    }),
  'a product of two activations': () =>
    net('attention', (k, x) => {
      const rows = (label: string) =>
        k.g.node('Reshape', [k.conv(x, label, [8, 3, 1]), k.ints(`${label}.shape`, 2, 8, 64)]);
      const first = k.g.node('Transpose', [rows('q')], { perm: [0, 2, 1] });
      return k.g.node('MatMul', [first, k.relu(rows('k'))]);
    }),
  'a sum over channels': () =>
    net('sum', (k, x) => {
      const shifted = k.g.node('Add', [k.conv(x, 'a', [8, 3, 3]), k.weight('shift', 1, 8, 1, 1)]);
      return k.g.node('ReduceSum', [shifted, k.ints('axes', 1)]);
    }),
  'a grouped convolution': () =>
    net('grouped', (k, x) => {
      const grouped = k.conv(k.relu(k.conv(x, 'a', [8, 3, 3])), 'b', [12, 4, 3], 2);
      return k.conv(k.relu(grouped), 'c', [4, 12, 1]);
    }),
  'a depthwise convolution': () =>
    net('depthwise', (k, x) => {
      const depthwise = k.conv(k.relu(k.conv(x, 'a', [8, 3, 1])), 'b', [8, 1, 3], 8);
      return k.conv(k.relu(depthwise), 'c', [4, 8, 1]);
    }),
  'a residual stream with padded channels': () =>
    net('padded', (k, x) => {
      const a = k.relu(k.conv(x, 'a', [8, 3, 3]));
      const wide = k.g.node('Pad', [a, k.ints('pads', 0, 2, 0, 0, 0, 2, 0, 0)]);
      const sum = k.relu(k.g.node('Add', [k.conv(a, 'b', [12, 8, 3]), wide]));
      return k.conv(sum, 'c', [4, 12, 1]);
    }),
  'two branches side by side': () =>
    net('concat', (k, x) => {
      const both = [k.conv(x, 'a', [8, 3, 3]), k.relu(k.conv(x, 'b', [6, 3, 1]))];
      return k.conv(k.g.node('Concat', both, { axis: 1 }), 'c', [5, 14, 1]);
    }),
};
