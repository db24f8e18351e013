import { describe } from 'vitest';
import { around, head, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

/** Conv 3>8 and Conv 8>4 of any rank, each with these attributes. */
const twoConvs = (spatial: readonly number[], attributes: Record<string, number[] | string>) =>
  netOf(
    (g, x) => {
      const kernel = spatial.map(() => 3);
      const conv = (y: string, name: string, to: number, from: number) =>
        g.op(
          'Conv',
          [y, g.weight(`${name}.weight`, [to, from, ...kernel]), g.weight(`${name}.bias`, [to])],
          attributes,
        );
      return conv(g.op('Relu', [conv(x, 'a', 8, 3)]), 'b', 4, 8);
    },
    { shape: [1, 3, ...spatial] },
  );

describe('kernels', () => {
  inZoo('Conv 1-D, dilated', () => twoConvs([16], { dilations: [2] }), { groups: { 'a.weight': 8 } });
  inZoo('Conv 3-D, strided', () => twoConvs([7, 7, 7], { strides: [1, 2, 1] }), { groups: { 'a.weight': 8 } });
  inZoo('Conv with asymmetric pads', () => twoConvs([8, 8], { pads: [0, 2, 1, 3], strides: [2, 1] }), {
    groups: { 'a.weight': 8 },
  });
  for (const auto_pad of ['SAME_UPPER', 'SAME_LOWER', 'VALID']) {
    inZoo(`Conv with auto_pad ${auto_pad}`, () => twoConvs([9, 9], { auto_pad, strides: [2, 2] }), {
      groups: { 'a.weight': 8 },
    });
  }
  inZoo(
    'a strided 1x1 convolution on the shortcut of a residual block',
    () =>
      netOf((g, x) => {
        const stem = g.op('Relu', [g.conv(x, 3, 6, { name: 'stem' })]);
        const strides = [2, 2];
        const inner = g.op('Relu', [g.conv(stem, 6, 5, { name: 'a', attributes: { strides } })]);
        const shortcut = g.conv(stem, 6, 8, { name: 'down', kernel: 1, bias: false, attributes: { strides } });
        return head(g, g.op('Relu', [g.op('Add', [g.conv(inner, 5, 8, { name: 'b' }), shortcut])]), 8);
      }),
    { groups: { 'stem.weight': 6, 'a.weight': 5, 'down.weight': 8 } },
  );
});

const grouped = (group: number, from = 8, to = 12) => around((g, a) => g.conv(a, from, to, { name: 'm', group }), to);

describe('grouped convolutions', () => {
  inZoo('grouped conv with uneven survivors (TP #9, JG #34)', () => grouped(2), {
    groups: { 'a.weight': 4, 'm.weight': 6 },
  });
  inZoo('grouped conv, whole groups (FisherPruning #5)', () => grouped(4), {
    groups: { 'a.weight': 4 },
    options: { grouped: 'whole' },
  });
  inZoo('as many groups as outputs, two inputs each (msft OTO #15)', () => grouped(4, 8, 4), {
    groups: { 'a.weight': 2 },
    walls: { 'm.weight': /single channel/ },
  });
  inZoo(
    'grouped convolutions of 2 and 4 groups in a row',
    () =>
      around((g, a) => g.conv(g.op('Relu', [g.conv(a, 8, 8, { name: 'm', group: 2 })]), 8, 8, { name: 'n', group: 4 })),
    { groups: { 'a.weight': 4, 'm.weight': 2, 'n.weight': 2 } },
  );
  inZoo(
    'a grouped convolution of joined branches (onnxsim #847)',
    () =>
      netOf((g, x) => {
        const parts = [g.conv(x, 3, 4, { name: 'a' }), g.conv(x, 3, 4, { name: 'b' })];
        const joined = g.op('Relu', [g.op('Concat', parts, { axis: 1 })]);
        return g.conv(g.conv(joined, 8, 6, { name: 'm', group: 2 }), 6, 4, { name: 'c' });
      }),
    { groups: { 'a.weight': 4, 'm.weight': 3 } },
  );
  inZoo(
    'ResNeXt: a grouped convolution inside a residual block',
    () =>
      netOf((g, x) => {
        const stem = g.op('Relu', [g.conv(x, 3, 8, { name: 'stem' })]);
        const a = g.op('Relu', [g.conv(stem, 8, 8, { name: 'a', kernel: 1 })]);
        const m = g.op('Relu', [g.conv(a, 8, 8, { name: 'm', group: 4 })]);
        return head(g, g.op('Relu', [g.op('Add', [g.conv(m, 8, 8, { name: 'b', kernel: 1 }), stem])]), 8);
      }),
    { groups: { 'stem.weight': 8, 'a.weight': 2, 'm.weight': 2 } },
  );
  inZoo(
    'a grouped convolution on a residual stream',
    () =>
      netOf((g, x) => {
        const stem = g.op('Relu', [g.conv(x, 3, 8, { name: 'stem' })]);
        return head(g, g.op('Add', [stem, g.conv(stem, 8, 8, { name: 'm', group: 2 })]), 8);
      }),
    { groups: { 'stem.weight': 4 } },
  );
});

/** Conv 3>8 > `between` > depthwise 8>8k > Conv >4. */
const depthwise = (times: number, between = (_: Net, a: string) => a) =>
  around((g, a) => g.conv(between(g, a), 8, 8 * times, { name: 'd', group: 8 }), 8 * times);

describe('depthwise convolutions', () => {
  inZoo('depthwise', () => depthwise(1), { groups: { 'a.weight': 8 } });
  inZoo('depthwise with multiplier 3', () => depthwise(3), { groups: { 'a.weight': 8 } });
  inZoo(
    'two depthwise convolutions in a row, norms between',
    () => depthwise(1, (g, a) => g.op('Relu', [g.norm(g.conv(g.op('Relu', [a]), 8, 8, { group: 8 }), 8)])),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'depthwise on joined branches (OTO-pf #39)',
    () =>
      netOf((g, x) => {
        const parts = [g.conv(x, 3, 5, { name: 'a' }), g.conv(x, 3, 3, { name: 'b' })];
        const d = g.conv(g.op('Concat', parts, { axis: 1 }), 8, 8, { name: 'd', group: 8 });
        return g.conv(g.op('Relu', [d]), 8, 4, { name: 'c' });
      }),
    { groups: { 'a.weight': 5, 'b.weight': 3 } },
  );
  inZoo(
    'depthwise on the input of the graph',
    () => netOf((g, x) => g.conv(g.op('Relu', [g.conv(x, 3, 6, { name: 'd', group: 3 })]), 6, 4, { name: 'b' })),
    { groups: {}, walls: { 'd.weight': /graph input 'X'/ } },
  );
  inZoo(
    'MobileNetV2: an inverted residual block',
    () =>
      netOf((g, x) => {
        const stem = g.norm(g.conv(x, 3, 5, { name: 'stem', bias: false }), 5);
        const wide = g.op('Relu', [g.norm(g.conv(stem, 5, 10, { name: 'e', kernel: 1, bias: false }), 10)]);
        const deep = g.op('Relu', [g.norm(g.conv(wide, 10, 10, { name: 'd', group: 10, bias: false }), 10)]);
        const narrow = g.norm(g.conv(deep, 10, 5, { name: 'p', kernel: 1, bias: false }), 5);
        return head(g, g.op('Add', [stem, narrow]), 5);
      }),
    { groups: { 'stem.weight': 5, 'e.weight': 10 } },
  );
});

describe('convolutions that look depthwise', () => {
  inZoo(
    '1-channel convs that look depthwise: one input, many outputs (TP #126)',
    () =>
      netOf((g, x) => g.conv(g.op('Relu', [g.conv(x, 1, 8, { name: 'a' })]), 8, 4, { name: 'b' }), {
        shape: [1, 1, 8, 8],
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    '1-channel convs that look depthwise: a map of one channel in between (TP #179, NNI PR#5751)',
    () => around((g, a) => g.conv(g.conv(a, 8, 1, { name: 'one' }), 1, 6, { name: 'c' }), 6),
    { groups: { 'a.weight': 8, 'c.weight': 6 }, walls: { 'one.weight': /single channel/ } },
  );
  inZoo(
    'an attention map: one channel that a 7x7 convolution makes of two (CBAM)',
    () =>
      around((g, a) => {
        const most = g.op('ReduceMax', [a], { axes: [1] }, 'most');
        const total = g.op('ReduceSum', [a, g.ints('axes', 1)]);
        const map = g.conv(g.op('Concat', [total, g.op('Neg', [total])], { axis: 1 }), 2, 1, { name: 's', kernel: 7 });
        return g.op('Add', [g.op('Add', [a, map]), g.op('Sub', [most, most])]);
      }),
    { groups: {}, walls: { 'a.weight': /ReduceMax 'most'/, 's.weight': /broadcasts/ } },
  );
});

/** Squeeze and excitation between two convolutions, with any gate. */
const gated = (gate: (g: Net, y: string) => string) =>
  around((g, a) => {
    const squeezed = g.op('Relu', [g.conv(g.op('GlobalAveragePool', [a]), 8, 4, { name: 's', kernel: 1 })]);
    return g.op('Mul', [a, gate(g, g.conv(squeezed, 4, 8, { name: 'e', kernel: 1 }))]);
  });

describe('squeeze and excitation', () => {
  inZoo('EfficientNet: a gate that is folded where it costs nothing', () => gated((g, y) => g.op('Sigmoid', [y])), {
    groups: { 'a.weight': 8, 's.weight': 4 },
    exact: false,
  });
  inZoo('a gate of linear pieces', () => gated((g, y) => g.op('Relu', [y])), {
    groups: { 'a.weight': 8, 's.weight': 4 },
  });
  inZoo(
    'a gate of linear layers (SENet)',
    () =>
      around((g, a) => {
        const squeezed = g.op('Flatten', [g.op('GlobalAveragePool', [a])]);
        const gate = g.op('Relu', [g.linear(g.op('Relu', [g.linear(squeezed, 8, 3, 's')]), 3, 8, 'e')]);
        return g.op('Mul', [a, g.op('Reshape', [gate, g.ints('map', 1, 8, 1, 1)])]);
      }),
    { groups: { 'a.weight': 8, 's.weight': 3 } },
  );
});
