import { describe, expect, test } from 'vitest';
import { DataType, tensorOf } from '../../src/onnx/index.ts';
import { stream } from '../../src/util/random.ts';
import { cutsAgree } from './cuts-agree.ts';
import { couplingOf, head, type Net, netOf, reasons, sizes } from './nets.ts';
import { inZoo } from './zoo.ts';

const microsoft = { domains: { 'com.microsoft': 1 } };

/** Constants of one net, random but the same every time. */
const codes = (g: Net, name: string, dims: readonly number[], zero: 'int8' | 'uint8' = 'int8') => {
  const random = stream(4, name);
  const length = dims.reduce((a, b) => a * b, 1);
  const values = Array.from({ length }, () => random.int(7) - 3 + (zero === 'uint8' ? 128 : 0));
  return g.initializer(name, zero === 'int8' ? Int8Array.from(values) : Uint8Array.from(values), dims);
};
const byte = (g: Net, name: string, value: number) => g.initializer(name, Uint8Array.of(value), []);
const bytes = (g: Net, name: string, values: readonly number[]) =>
  g.initializer(name, Int8Array.from(values), [values.length]);
const int32 = (g: Net, name: string, length: number) => {
  const random = stream(5, name);
  return g.initializer(
    name,
    Int32Array.from({ length }, () => random.int(9) - 4),
    [length],
  );
};
const scale = (g: Net, name: string, value: number) => g.initializer(name, Float32Array.of(value), []);
/** A power of two for every channel. */
const scales = (g: Net, name: string, length: number) => {
  const random = stream(6, name);
  return g.initializer(
    name,
    Float32Array.from({ length }, () => 2 ** (random.int(3) - 2)),
    [length],
  );
};

const quantize = (g: Net, x: string, name: string, step = 0.25, zero = 128) =>
  g.op('QuantizeLinear', [x, scale(g, `${name}.scale`, step), byte(g, `${name}.zero`, zero)], {}, name);

describe('operators on codes', () => {
  const conv = (g: Net, x: string, from: number, to: number, name: string, group = 1, zeros = true) => {
    const zero = stream(7, name);
    const points = Array.from({ length: to }, () => (zeros ? zero.int(3) - 1 : 0));
    const inputs = [
      x,
      scale(g, `${name}.in`, 0.25),
      byte(g, `${name}.in.zero`, 128),
      codes(g, `${name}.weight`, [to, from / group, 3, 3]),
      scales(g, `${name}.scale`, to),
      bytes(g, `${name}.zero`, points),
      scale(g, `${name}.out`, 0.25),
      byte(g, `${name}.out.zero`, 128),
      int32(g, `${name}.bias`, to),
    ];
    return g.op('QLinearConv', inputs, { pads: [1, 1, 1, 1], group }, name);
  };
  const dequantize = (g: Net, x: string) =>
    g.op('DequantizeLinear', [x, scale(g, 'last', 0.25), byte(g, 'last.zero', 128)]);

  cutsAgree(
    'QLinearConv: codes, scales, zero points and bias together',
    () => netOf((g, x) => dequantize(g, conv(g, conv(g, quantize(g, x, 'q'), 3, 8, 'a'), 8, 4, 'b'))),
    { 'a.weight': 8 },
  );
  cutsAgree(
    'QLinearConv in groups',
    () =>
      netOf((g, x) =>
        dequantize(g, conv(g, conv(g, conv(g, quantize(g, x, 'q'), 3, 8, 'a'), 8, 12, 'm', 4), 12, 4, 'b')),
      ),
    { 'a.weight': 2, 'm.weight': 3 },
  );
  cutsAgree(
    'QLinearConv depthwise',
    () =>
      netOf((g, x) =>
        dequantize(g, conv(g, conv(g, conv(g, quantize(g, x, 'q'), 3, 8, 'a'), 8, 8, 'm', 8), 8, 4, 'b')),
      ),
    { 'a.weight': 8 },
  );
  cutsAgree(
    'ConvInteger with a zero point',
    () =>
      netOf((g, x) => {
        const a = g.op('Cast', [g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })])], { to: DataType.UINT8 });
        const inputs = [a, codes(g, 'w', [4, 8, 1, 1], 'uint8'), byte(g, 'a.zero', 0), byte(g, 'w.zero', 128)];
        return g.op('Cast', [g.op('ConvInteger', inputs)], { to: 1 });
      }),
    { 'a.weight': 8 },
  );
  const product = (type: 'MatMulInteger' | 'QLinearMatMul' | 'QGemm', g: Net, x: string): string => {
    if (type === 'MatMulInteger') {
      const inputs = [x, codes(g, 'v', [8, 5]), byte(g, 'x.zero', 128), bytes(g, 'v.zero', [1, 0, -1, 0, 2])];
      return g.op('Cast', [g.op(type, inputs)], { to: 1 });
    }
    const inputs = [
      x,
      scale(g, 'x.scale', 0.25),
      byte(g, 'x.zero', 128),
      codes(g, 'v', [8, 5]),
      scales(g, 'v.scale', 5),
      bytes(g, 'v.zero', [1, 0, -1, 0, 2]),
      ...(type === 'QGemm' ? [int32(g, 'v.bias', 5)] : []),
      scale(g, 'y.scale', 0.25),
      byte(g, 'y.zero', 128),
    ];
    const domain = type === 'QGemm' ? 'com.microsoft' : '';
    return dequantize(g, g.node(type, inputs, {}, { name: 'product', output: 'product', domain }));
  };
  for (const type of ['MatMulInteger', 'QLinearMatMul', 'QGemm'] as const) {
    cutsAgree(
      type,
      () =>
        netOf(
          (g, x) => product(type, g, quantize(g, g.op('Relu', [g.op('MatMul', [x, g.weight('w', [6, 8])])]), 'q')),
          { shape: [3, 6], ...microsoft },
        ),
      { w: 8 },
    );
  }
  cutsAgree(
    'pointwise operators, pools and Concat of codes',
    () =>
      netOf((g, x) => {
        const own = (type: string, inputs: string[], attributes = {}) =>
          g.node(type, inputs, attributes, { name: type, output: type, domain: 'com.microsoft' });
        const step = (name: string) => [scale(g, `${name}.s`, 0.25), byte(g, `${name}.z`, 128)];
        const q = quantize(g, x, 'q');
        const [a, b] = [conv(g, q, 3, 8, 'a'), conv(g, q, 3, 8, 'b')];
        const sum = own('QLinearAdd', [a, ...step('p1'), b, ...step('p2'), ...step('p3')]);
        const leaky = own('QLinearLeakyRelu', [sum, ...step('l1'), ...step('l2')], { alpha: 0.5 });
        const joined = own(
          'QLinearConcat',
          [...step('c0'), leaky, ...step('c1'), conv(g, q, 3, 4, 'c'), ...step('c2')],
          { axis: 1 },
        );
        const pooled = own('QLinearGlobalAveragePool', [joined, ...step('g1'), ...step('g2')]);
        return head(g, dequantize(g, pooled), 12);
      }, microsoft),
    { 'a.weight': 8, 'c.weight': 4 },
    { exact: false },
  );
  test('a range that is measured over all channels keeps them', () => {
    const model = netOf(
      (g, x) => {
        const a = g.op('MatMul', [g.op('Relu', [g.op('MatMul', [x, g.weight('z', [6, 7])])]), g.weight('w', [7, 8])]);
        const [y, step, zero] = g.node(
          'DynamicQuantizeLinear',
          [a],
          {},
          { name: 'range', outputs: ['y', 'y.s', 'y.z'] },
        );
        const sum = g.op('Cast', [g.op('MatMulInteger', [y, codes(g, 'v', [8, 5]), zero])], { to: 1 });
        return g.op('Mul', [sum, step]);
      },
      { shape: [3, 6] },
    );
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({ z: 7 });
    expect(reasons(coupling)).toMatchObject({ w: "DynamicQuantizeLinear 'range' takes the range of all of it" });
  });
});

describe('weights that are dequantised', () => {
  const weight = (g: Net, name: string, dims: readonly number[], axis: number) =>
    g.op('DequantizeLinear', [codes(g, `${name}.q`, dims), scales(g, `${name}.s`, dims[axis])], { axis }, name);
  inZoo(
    'through Transpose',
    () =>
      netOf(
        (g, x) => {
          const w = g.op('Transpose', [weight(g, 'w', [8, 6], 0)], { perm: [1, 0] }, 'wt');
          return g.op('MatMul', [g.op('Relu', [g.op('MatMul', [x, w])]), weight(g, 'v', [8, 5], 1)]);
        },
        { shape: [3, 6] },
      ),
    { groups: { wt: 8 } },
  );
  for (const [way, from, moved] of [
    ['Transpose', [8, 6], (g: Net, q: string) => g.op('Transpose', [q], { perm: [1, 0] })],
    ['Identity', [6, 8], (g: Net, q: string) => g.op('Identity', [q])],
    ['Reshape', [2, 3, 8], (g: Net, q: string) => g.op('Reshape', [q, g.ints('to', 6, 8)])],
    ['Concat', [6, 5], (g: Net, q: string) => g.op('Concat', [q, codes(g, 'more', [6, 3])], { axis: 1 })],
    [
      'Slice',
      [6, 10],
      (g: Net, q: string) => g.op('Slice', [q, g.ints('start', 1), g.ints('end', 9), g.ints('axis', 1)]),
    ],
  ] as const)
    inZoo(
      `codes that come through ${way}`,
      () =>
        netOf(
          (g, x) => {
            const w = g.op('DequantizeLinear', [moved(g, codes(g, 'w.q', from)), scale(g, 'w.s', 0.5)], {}, 'w');
            return g.op('MatMul', [g.op('Relu', [g.op('MatMul', [x, w])]), weight(g, 'v', [8, 5], 1)]);
          },
          { shape: [3, 6] },
        ),
      { groups: way === 'Concat' ? { w: 5, 'w#2': 3 } : { w: 8 } },
    );
  inZoo(
    'with a scale for every input channel',
    () =>
      netOf((g, x) => g.op('MatMul', [g.op('MatMul', [x, weight(g, 'w', [6, 8], 0)]), weight(g, 'v', [8, 5], 0)]), {
        shape: [3, 6],
      }),
    { groups: { w: 8 } },
  );
  inZoo(
    'in blocks along the inputs, which stay',
    () =>
      netOf(
        (g, x) => {
          const hidden = g.op('MatMul', [g.op('MatMul', [x, g.weight('z', [6, 7])]), g.weight('y', [7, 8])]);
          const blocks = g.initializer(
            'v.s',
            Float32Array.from({ length: 10 }, (_, i) => 2 ** -(i % 3)),
            [2, 5],
          );
          const v = g.op('DequantizeLinear', [codes(g, 'v.q', [8, 5]), blocks], { axis: 0, block_size: 4 }, 'v');
          return g.op('MatMul', [hidden, v]);
        },
        { shape: [3, 6], opset: 21 },
      ),
    { groups: { z: 7 }, walls: { y: /^DequantizeLinear 'v' scales it in blocks$/ } },
  );
  test('codes of 4 bits are not taken apart', () => {
    const model = netOf(
      (g, x) => {
        const packed = {
          ...tensorOf(
            'q',
            Uint8Array.from({ length: 20 }, (_, i) => i * 7),
            [20],
            DataType.UINT8,
          ),
        };
        const q = g.tensor({ ...packed, name: 'v.q', dims: [8, 5], dataType: DataType.UINT4 });
        const v = g.op('DequantizeLinear', [q, scale(g, 'v.s', 0.5)], {}, 'v');
        return g.op('MatMul', [g.op('MatMul', [x, g.weight('w', [6, 8])]), v]);
      },
      { shape: [3, 6], opset: 21 },
    );
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({});
    expect(reasons(coupling)).toMatchObject({ w: "DequantizeLinear 'v' packs several codes into a byte" });
  });
});
