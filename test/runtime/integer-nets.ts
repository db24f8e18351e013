import { GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';

/** Whole numbers from -1 to 1 by a fixed formula: float32 sums of them are exact. */
export const smallIntegers = (length: number, salt: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => (((i + 1) * (2 * salt + 3) * 7919) % 11 % 3) - 1);

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** A builder with constants of small whole numbers. */
export function integerGraph(name: string) {
  const g = new GraphBuilder({ name, opset: 17 });
  let salt = 0;
  const weight = (label: string, ...dims: number[]) => g.initializer(label, smallIntegers(product(dims), salt++), dims);
  const conv = (x: string, label: string, from: number, to: number, kernel = 3) =>
    g.node(
      'Conv',
      [x, weight(`${label}.weight`, to, from, kernel, kernel), weight(`${label}.bias`, to)],
      { pads: Array(4).fill((kernel - 1) / 2) },
      { name: label, output: `${label}.out` },
    );
  const relu = (x: string) => g.node('Relu', [x]);
  return { g, weight, conv, relu };
}

/** Two convolutions and a head: groups of 8 and 6 channels. Every relative of `x` is rank 4, [N, 3, 8, 8]. */
export function chainNet(batch: number | string = 'N'): OnnxModel {
  const { g, weight, conv, relu } = integerGraph('chain');
  const x = g.input('X', [batch, 3, 8, 8]);
  const a = relu(conv(x, 'a', 3, 8));
  const b = relu(conv(a, 'b', 8, 6));
  const pooled = g.node('MaxPool', [b], { kernel_shape: [8, 8] });
  const flat = g.node('Flatten', [pooled]);
  const y = g.node('Gemm', [flat, weight('head.weight', 5, 6), weight('head.bias', 5)], { transB: 1 });
  g.output(g.node('Identity', [y], {}, { output: 'Y' }), [batch, 5]);
  return g.model();
}
