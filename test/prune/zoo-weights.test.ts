import { describe } from 'vitest';
import { DataType, float } from '../../src/onnx/index.ts';
import { around, head, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

const relu = (g: Net, x: string) => g.op('Relu', [x]);
const flat = { shape: ['N', 6] } as const;

describe('weights that are used twice', () => {
  inZoo(
    'shared weights: a siamese pair (OTO tied weights)',
    () =>
      netOf((g, x) => {
        const shared = [g.weight('w', [8, 3, 3, 3]), g.weight('b', [8])];
        const [p, q] = [x, relu(g, x)].map(y => relu(g, g.op('Conv', [y, ...shared], { pads: [1, 1, 1, 1] })));
        return g.conv(g.op('Sub', [p, q]), 8, 4, { name: 'c' });
      }),
    { groups: { w: 8 } },
  );
  inZoo(
    'shared weights: two siblings whose consumers differ',
    () =>
      netOf((g, x) => {
        const w = g.weight('w', [8, 3, 1, 1]);
        const [p, q] = [x, relu(g, x)].map(y => g.op('Conv', [y, w]));
        return [g.conv(p, 8, 4, { name: 'c' }), g.conv(relu(g, q), 8, 3, { name: 'd' })];
      }),
    { groups: { w: 8 } },
  );
  inZoo(
    'shared weights: one convolution run twice on its own output',
    () =>
      netOf((g, x) => {
        const w = g.weight('w', [6, 6, 1, 1]);
        const once = relu(g, g.op('Conv', [g.conv(x, 3, 6, { name: 'a' }), w]));
        return g.conv(g.op('Conv', [once, w]), 6, 4, { name: 'c' });
      }),
    { groups: { 'a.weight': 6 } },
  );
  inZoo(
    'transposed weights: encoder and decoder tied (auto-encoders)',
    () =>
      netOf((g, x) => {
        const w = g.weight('w', [5, 6]);
        const code = relu(g, g.op('Gemm', [x, w, g.weight('b', [5])], { transB: 1 }));
        return g.op('MatMul', [code, w]);
      }, flat),
    { groups: { 'w#2': 5 }, walls: { w: /graph input 'X'/ } },
  );
  inZoo(
    'transposed weights: through Transpose nodes on either side',
    () =>
      netOf((g, x) => {
        const wt = g.op('Transpose', [g.weight('w', [8, 6])], { perm: [1, 0] }, 'wt');
        const y = relu(g, g.op('MatMul', [x, wt]));
        return g.op('MatMul', [y, g.op('Transpose', [g.weight('v', [4, 8])], { perm: [1, 0] }, 'vt')]);
      }, flat),
    { groups: { wt: 8 } },
  );
  inZoo(
    'a weight whose rows and columns are the same channels',
    () =>
      netOf((g, x) => {
        const y = relu(g, g.linear(x, 6, 7, 'a'));
        const w = g.weight('w', [7, 7]);
        return g.linear(g.op('Add', [y, g.op('MatMul', [relu(g, g.op('MatMul', [y, w])), w])]), 7, 3, 'c');
      }, flat),
    { groups: { 'a.weight': 7 } },
  );
});

describe('where weights come from', () => {
  inZoo('Constant nodes (OCR files)', () => around((g, a) => relu(g, g.norm(a, 8)), 8, { weightsInNodes: true }), {
    groups: { 'a.weight': 8 },
  });
  inZoo(
    'initializers that are listed as inputs (IR version 3, B11)',
    () => around((g, a) => relu(g, g.norm(a, 8)), 8, { irVersion: 3, opset: 9 }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'through Identity, Cast and Reshape',
    () =>
      netOf((g, x) => {
        const stored = g.op('Cast', [g.op('Identity', [g.weight('w', [2, 4, 27])])], { to: DataType.FLOAT });
        const w = g.op('Reshape', [stored, g.ints('kernel', 8, 3, 3, 3)], {}, 'kernels');
        return g.conv(g.op('Conv', [x, w]), 8, 4, { name: 'b' });
      }),
    { groups: { kernels: 4 } },
  );
  inZoo(
    'a weight that is also an output of the graph',
    () =>
      netOf((g, x) => {
        const w = g.op('Identity', [g.weight('w', [8, 3, 1, 1])], {}, 'shown');
        return [g.conv(g.op('Conv', [x, w]), 8, 4, { name: 'b' }), w];
      }),
    { groups: {}, walls: { shown: /graph output 'shown'/ } },
  );
  inZoo(
    'a bias that two layers share',
    () =>
      netOf((g, x) => {
        const bias = g.weight('bias', [6]);
        const conv = (y: string, name: string, from: number) =>
          g.op('Conv', [y, g.weight(name, [6, from, 1, 1]), bias]);
        return g.conv(relu(g, conv(relu(g, conv(x, 'a', 3)), 'b', 6)), 6, 4, { name: 'c' });
      }),
    { groups: { a: 6 } },
  );
  inZoo(
    'a weight that is computed from a constant by Abs and Mul',
    () =>
      netOf((g, x) => {
        const w = g.op(
          'Mul',
          [g.op('Abs', [g.weight('w', [8, 3, 1, 1])]), g.weight('gain', [8, 1, 1, 1])],
          {},
          'kernels',
        );
        return g.conv(g.op('Conv', [x, w]), 8, 4, { name: 'b' });
      }),
    { groups: { kernels: 8 } },
  );
});

describe('linear layers', () => {
  inZoo(
    'Gemm with transposed operands, alpha and beta',
    () =>
      netOf(
        (g, x) => {
          const scaled = { transA: 1, alpha: float(2), beta: float(0.5) };
          const y = relu(g, g.op('Gemm', [x, g.weight('w', [6, 8]), g.weight('b', [1, 8])], scaled));
          return g.op('Gemm', [y, g.weight('v', [8, 3])]);
        },
        { shape: [6, 2] },
      ),
    { groups: { w: 8 } },
  );
  for (const [transA, bias] of [
    [0, true],
    [1, true],
    [0, false],
  ] as const) {
    inZoo(
      `Gemm with the weight on the left (transA ${transA}, ${bias ? 'a' : 'no'} bias)`,
      () =>
        netOf(
          (g, x) => {
            const w = g.weight('w', transA ? [6, 8] : [8, 6]);
            const y = relu(g, g.op('Gemm', [w, x, ...(bias ? [g.weight('b', [8, 1])] : [])], { transA }));
            return g.op('Gemm', [g.weight('v', [3, 8]), y]);
          },
          { shape: [6, 2] },
        ),
      { groups: { w: 8 } },
    );
  }
  inZoo(
    'MatMul with the weight on the left',
    () =>
      netOf((g, x) => g.op('MatMul', [g.weight('v', [4, 8]), relu(g, g.op('MatMul', [g.weight('w', [8, 6]), x]))]), {
        shape: [6, 5],
      }),
    { groups: { w: 8 } },
  );
  inZoo(
    'MatMul of tokens, bias before or behind (BERT)',
    () =>
      netOf(
        (g, x) => {
          const y = g.op('Add', [g.weight('b', [8]), g.op('MatMul', [x, g.weight('w', [6, 8])])]);
          return g.op('MatMul', [relu(g, y), g.weight('v', [8, 6])]);
        },
        { shape: ['N', 5, 6] },
      ),
    { groups: { w: 8 } },
  );
  inZoo(
    'batched weights: a matrix of its own for every expert',
    () =>
      netOf(
        (g, x) => g.op('MatMul', [relu(g, g.op('MatMul', [x, g.weight('w', [3, 6, 8])])), g.weight('v', [3, 8, 4])]),
        {
          shape: [3, 5, 6],
        },
      ),
    { groups: { w: 8 } },
  );
});

describe('constants', () => {
  inZoo(
    'BN shift left behind after masking (NNI #2130)',
    () => around((g, a) => g.op('Add', [relu(g, g.norm(a, 8)), g.weight('c', [1, 8, 1, 1])])),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'BN written as Mul and Add (OCR files)',
    () =>
      around((g, a) =>
        relu(g, g.op('Add', [g.op('Mul', [a, g.weight('s', [1, 8, 1, 1])]), g.weight('t', [1, 8, 1, 1])])),
      ),
    { groups: { 'a.weight': 8 } },
  );
  for (const dims of [[8, 1, 1], [1, 8, 1, 1], [1], [], [1, 1, 8, 8], [1, 8, 8, 8], [8, 8]]) {
    inZoo(
      `constants broadcast over channels: [${dims}]`,
      () => around((g, a) => relu(g, g.op('Add', [g.op('Mul', [g.weight('s', dims), a]), g.weight('t', dims)]))),
      { groups: { 'a.weight': 8 } },
    );
  }
  inZoo(
    'a constant of one channel in front of a wide one (TP #510, B01)',
    () =>
      around((g, a) => {
        const map = relu(g, g.conv('X', 3, 1, { name: 'm' }));
        return g.op('Where', [g.op('Greater', [map, g.weight('zero', [1])]), a, g.op('Mul', [map, a])]);
      }),
    { groups: { 'a.weight': 8 }, walls: { 'm.weight': /broadcasts it/ } },
  );
  inZoo(
    'a constant that stands in for a producer',
    () =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        return head(g, g.op('Max', [a, g.weight('floor', [1, 8, 1, 1]), relu(g, a)]), 8);
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'Clip with limits that are not zero',
    () => around((g, a) => g.op('Clip', [a, g.weight('low', []), g.initializer('high', Float32Array.of(6), [])])),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'PRelu with a slope for each channel',
    () => around((g, a) => g.op('PRelu', [a, g.weight('slope', [8, 1, 1])])),
    {
      groups: { 'a.weight': 8 },
    },
  );
});
