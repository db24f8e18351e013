import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { DataType, GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { certify } from '../../src/runtime/certificate.ts';
import { precisionOf } from '../../src/runtime/precision.ts';
import { stream } from '../../src/util/random.ts';

const { FLOAT, FLOAT16, BFLOAT16, DOUBLE, INT8, INT16, UINT8, FLOAT8E4M3FN } = DataType;

type Body = (g: GraphBuilder, x: string) => string;

/** X [2, 4] to Y. */
function net(body: Body, { type = FLOAT as number, opset = 21 } = {}): OnnxModel {
  const g = new GraphBuilder({ name: 'net', opset });
  g.output(body(g, g.input('X', [2, 4], type)), null, type);
  return g.model();
}

/** All zeros, whatever the type: only types count. */
function zeros(g: GraphBuilder, name: string, dims: readonly number[], type: number): string {
  const length = dims.reduce((a, b) => a * b, 1);
  if (type === FLOAT8E4M3FN) return g.initializer(name, new Uint8Array(length), dims, type);
  return g.initializer(name, new Array<number>(length).fill(0), dims, type);
}

const product =
  (type: number): Body =>
  (g, x) =>
    g.node('MatMul', [x, zeros(g, 'w', [4, 4], type)]);

const quantised =
  (code: number): Body =>
  (g, x) => {
    const scale = zeros(g, 'scale', [], FLOAT);
    const zeroPoint = zeros(g, 'zero', [], code);
    const codes = g.node('QuantizeLinear', [x, scale, zeroPoint]);
    return product(FLOAT)(g, g.node('DequantizeLinear', [codes, scale, zeroPoint]));
  };

/** A table that is looked up beside what is computed. */
const besides =
  (type: number): Body =>
  (g, x) => {
    g.output(g.node('Cast', [zeros(g, 'table', [2], type)], { to: FLOAT }));
    return product(FLOAT)(g, x);
  };

const decoded =
  (code: number): Body =>
  (g, x) => {
    const scale = zeros(g, 'scale', [], FLOAT);
    return g.node('MatMul', [x, g.node('DequantizeLinear', [zeros(g, 'w', [4, 4], code), scale])]);
  };

const within =
  (type: number, outside: number): Body =>
  (g, x) => {
    const inner = product(type)(g, g.node('Cast', [x], { to: type }));
    return g.node('Cast', [inner], { to: outside });
  };

const cases: [string, OnnxModel, string][] = [
  ['float32', net(product(FLOAT)), 'float32'],
  ['float64', net(product(DOUBLE), { type: DOUBLE }), 'float64'],
  ['float64 inside float32', net(within(DOUBLE, FLOAT)), 'float64'],
  ['float16', net(product(FLOAT16), { type: FLOAT16 }), 'float16'],
  ['float16 inside float32', net(within(FLOAT16, FLOAT)), 'float16'],
  ['bfloat16 inside float32', net(within(BFLOAT16, FLOAT)), 'bfloat16'],
  ['a table of bytes', net(besides(INT8)), 'float32'],
  ['a table of bfloat16', net(besides(BFLOAT16)), 'float32'],
  ['weights of bytes that are decoded', net(decoded(INT8)), 'float32'],
  ['weights of 8-bit floats that are decoded', net(decoded(FLOAT8E4M3FN)), 'float32'],
  ['codes with one scale for all', net(quantised(INT8)), 'quantised'],
  ['codes of 16 bits', net(quantised(INT16)), 'quantised16'],
  ['codes that are 8-bit floats', net(quantised(FLOAT8E4M3FN)), 'coarse'],
  [
    'integer products',
    net((g, x) => {
      const [codes, scale] = g.node('DynamicQuantizeLinear', [x], {}, { outputs: 3 });
      const sums = g.node('MatMulInteger', [codes, zeros(g, 'w', [4, 4], UINT8)]);
      return g.node('Mul', [g.node('Cast', [sums], { to: FLOAT }), scale]);
    }),
    'quantised',
  ],
];

test.each(cases)('%s', (_, model, precision) => {
  expect(precisionOf(buildGraph(model, operators))).toBe(precision);
});

test('what is computed between codes', () => {
  expect(precisionOf(buildGraph(net(quantised(INT8)), operators), false)).toBe('float32');
});

test('codes that carry a rounding on are compared layer by layer', async () => {
  // As trained for quantisation: weights and values are rounded to codes of 8 bits before every layer.
  const g = new GraphBuilder({ name: 'qat', opset: 17 });
  const random = stream(3, 'qat');
  const zero = g.initializer('zero', [0], [], INT8);
  const coded = (value: string, step: number) => {
    const scale = g.initializer(`${value}.scale`, Float32Array.of(step), []);
    return g.node('DequantizeLinear', [g.node('QuantizeLinear', [value, scale, zero]), scale, zero]);
  };
  const layer = (x: string, from: number, to: number, name: string) => {
    const values = Float32Array.from({ length: to * from * 9 }, () => random.normal() * 1.4 * (9 * from) ** -0.5);
    const weight = coded(g.initializer(name, values, [to, from, 3, 3]), 0.003);
    return g.node('Conv', [coded(x, 0.02), weight], { pads: [1, 1, 1, 1] }, { output: `${name}.out` });
  };
  let value = g.input('X', [1, 3, 16, 16]);
  for (let i = 0; i < 6; i++) value = g.node('Relu', [layer(value, i === 0 ? 3 : 48, 48, `w${i}`)]);
  g.output(layer(value, 48, 10, 'last'), [1, 10, 16, 16]);
  const full = g.model();
  const coupling = coupleGraph(buildGraph(full, operators));
  const kept = coupling.groups.map(({ size }) => Array.from({ length: size }, (_, i) => i).filter(i => i % 5 < 3));
  const certificate = await certify({ full, small: cutModel(coupling, kept), kept, operators, random: 4 });
  expect(certificate).toMatchObject({ passed: true, limit: 1e-4 });
  expect(certificate.notes[0]).toMatch(/off by .* more than 0\.02\. Layer by layer/);
  expect(certificate.outputs).toHaveLength(7);
  expect(certificate.maxRelError).toBeLessThan(1e-5);
});
