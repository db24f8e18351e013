import { describe } from 'vitest';
import { float } from '../../src/onnx/index.ts';
import { around, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

const exact = false;
const whole = { 'a.weight': 8 };
const tokens = { shape: [1, 6, 16] };

/** x W + b over the last axis; the group of its outputs is called `<name>`. */
const linear = (g: Net, x: string, from: number, to: number, name: string) =>
  g.op('Add', [g.op('MatMul', [x, g.weight(name, [from, to])]), g.weight(`${name}.bias`, [to])]);

const real = (g: Net, name: string, ...values: number[]) =>
  g.initializer(name, Float32Array.from(values), values.length === 1 ? [] : [values.length]);

/** Scale and shift of a normalisation, none of them 0. */
const affine = (g: Net, ...dims: number[]) =>
  ['scale', 'shift'].map((part, which) => {
    const length = dims.reduce((a, b) => a * b, 1);
    const values = Float32Array.from({ length }, (_, i) => 0.5 + which + i / 8);
    return g.initializer(g.unique(part), values, dims);
  });

/** (x - mean) / sqrt(variance + epsilon), as exporters write it. */
function decomposed(g: Net, x: string, axes: readonly number[], name: string): string {
  const mean = (value: string, called: string) => g.op('ReduceMean', [value], { axes: [...axes] }, called);
  const centred = g.op('Sub', [x, mean(x, name)]);
  const variance = mean(g.op('Pow', [centred, real(g, `${name}.two`, 2)]), `${name}.variance`);
  return g.op('Div', [centred, g.op('Sqrt', [g.op('Add', [variance, real(g, `${name}.epsilon`, 1e-5)])])]);
}

/** x / sqrt(mean of squares + epsilon). */
function rootMeanSquare(g: Net, x: string, axes: readonly number[], name: string): string {
  const squares = g.op('Pow', [x, real(g, `${name}.two`, 2)]);
  const mean = g.op('ReduceMean', [squares], { axes: [...axes] }, name);
  return g.op('Div', [x, g.op('Sqrt', [g.op('Add', [mean, real(g, `${name}.epsilon`, 1e-5)])])]);
}

describe('layer normalisation', () => {
  inZoo(
    'LayerNormalization over the channels is a wall; the hidden layer behind it goes',
    () =>
      netOf(
        (g, x) => {
          const a = linear(g, x, 16, 8, 'a');
          const normal = g.op('LayerNormalization', [a, ...affine(g, 8)], {}, 'ln');
          const hidden = g.op('Gelu', [linear(g, normal, 8, 12, 'b')]);
          return linear(g, g.op('Add', [linear(g, hidden, 12, 8, 'c'), a]), 8, 5, 'd');
        },
        { ...tokens, opset: 20 },
      ),
    { exact, groups: { b: 12 }, walls: { a: /^LayerNormalization 'ln' normalises over it/ } },
  );
  inZoo(
    'LayerNormalization over other axes than the channels',
    () => around((g, a) => g.op('LayerNormalization', [a, ...affine(g, 8, 8)], { axis: 2 })),
    { exact, groups: whole },
  );
  inZoo(
    'LayerNormalization without a shift',
    () => around((g, a) => g.op('LayerNormalization', [a, affine(g, 8)[0]])),
    { exact, groups: whole },
  );
  inZoo(
    'all three outputs of LayerNormalization',
    () =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const parts = g.node('LayerNormalization', [a, ...affine(g, 8)], {}, { name: 'ln', outputs: 3 });
        return parts.map((part, i) => g.conv(part, 8, 4, { name: `b${i}`, kernel: 1 }));
      }),
    { exact, groups: whole },
  );
  inZoo(
    'LayerNormalization from axis 1 on is a wall',
    () => around((g, a) => g.op('LayerNormalization', [a, ...affine(g, 8, 8, 8)], { axis: 1 }, 'ln')),
    { exact, groups: {}, walls: { 'a.weight': /^LayerNormalization 'ln'/ } },
  );
  inZoo(
    'a decomposed layer norm over the channels is a wall',
    () =>
      netOf((g, x) => {
        const normal = decomposed(g, linear(g, x, 16, 8, 'a'), [-1], 'mean');
        const [scale, shift] = affine(g, 8);
        return linear(g, g.op('Add', [g.op('Mul', [normal, scale]), shift]), 8, 5, 'b');
      }, tokens),
    { exact, groups: {}, walls: { a: /^ReduceMean 'mean' reduces over it/ } },
  );
  inZoo('a decomposed layer norm over other axes', () => around((g, a) => decomposed(g, a, [2, 3], 'mean')), {
    exact,
    groups: whole,
  });
  inZoo(
    'channels-last normalisation between transposes, as ConvNeXt has it',
    () =>
      around((g, a) => {
        const rows = g.op('Transpose', [a], { perm: [0, 2, 3, 1] });
        const normal = g.op('LayerNormalization', [rows, ...affine(g, 8)], {}, 'ln');
        const inner = linear(g, g.op('Relu', [linear(g, normal, 8, 16, 'up')]), 16, 8, 'down');
        return g.op('Add', [a, g.op('Transpose', [inner], { perm: [0, 3, 1, 2] })]);
      }),
    { exact, groups: { up: 16 }, walls: { 'a.weight': /^LayerNormalization 'ln'/ } },
  );
  inZoo(
    'SkipLayerNormalization, whose sum goes on',
    () =>
      netOf(
        (g, x) => {
          const a = linear(g, x, 16, 8, 'a');
          const skip = (name: string, left: string, right: string) =>
            g.node(
              'SkipLayerNormalization',
              [left, right, ...affine(g, 8)],
              {},
              {
                name,
                domain: 'com.microsoft',
                outputs: [name, '', '', `${name}.sum`],
              },
            );
          const hidden = g.op('Relu', [linear(g, skip('one', a, a)[0], 8, 12, 'up')]);
          const [normal] = skip('two', linear(g, hidden, 12, 8, 'down'), 'one.sum');
          return linear(g, normal, 8, 5, 'b');
        },
        { ...tokens, domains: { 'com.microsoft': 1 } },
      ),
    { exact, groups: { up: 12 }, walls: { a: /^SkipLayerNormalization 'one'/ } },
  );
});

describe('normalisation by the root of the mean square', () => {
  inZoo(
    'RMSNormalization over the channels is a wall',
    () =>
      netOf(
        (g, x) => {
          const normal = g.op('RMSNormalization', [linear(g, x, 16, 8, 'a'), affine(g, 8)[0]], {}, 'rms');
          return linear(g, g.op('Relu', [linear(g, normal, 8, 12, 'b')]), 12, 5, 'c');
        },
        { ...tokens, opset: 23 },
      ),
    { exact, groups: { b: 12 }, walls: { a: /^RMSNormalization 'rms' normalises over it/ } },
  );
  inZoo(
    'decomposed over the channels it is a wall',
    () =>
      netOf((g, x) => {
        const normal = rootMeanSquare(g, linear(g, x, 16, 8, 'a'), [2], 'mean');
        return linear(g, g.op('Mul', [normal, affine(g, 8)[0]]), 8, 5, 'b');
      }, tokens),
    { exact, groups: {}, walls: { a: /^ReduceMean 'mean'/ } },
  );
  inZoo(
    'RMSNormalization over another axis',
    () => around((g, a) => g.op('RMSNormalization', [a, affine(g, 8)[0]]), 8, { opset: 23 }),
    { exact, groups: whole },
  );
  inZoo('decomposed over another axis', () => around((g, a) => rootMeanSquare(g, a, [3], 'mean')), {
    exact,
    groups: whole,
  });
  inZoo(
    'SimplifiedLayerNormalization, as ONNX Runtime writes it',
    () =>
      netOf((g, x) => {
        const normal = g.op('SimplifiedLayerNormalization', [linear(g, x, 16, 8, 'a'), affine(g, 8)[0]], {}, 'rms');
        return linear(g, normal, 8, 5, 'b');
      }, tokens),
    { exact, groups: {}, walls: { a: /^SimplifiedLayerNormalization 'rms'/ } },
  );
});

describe('instances and groups', () => {
  inZoo('InstanceNormalization', () => around((g, a) => g.op('InstanceNormalization', [a, ...affine(g, 8)])), {
    exact,
    groups: whole,
  });
  inZoo(
    'InstanceNormalization of opset 7, behind a residual sum',
    () =>
      around(
        (g, a) => {
          const normal = (x: string) => g.op('InstanceNormalization', [x, ...affine(g, 8)], { epsilon: float(0.5) });
          return normal(g.op('Add', [a, g.op('Relu', [normal(g.conv(a, 8, 8, { name: 'c' }))])]));
        },
        8,
        { opset: 7 },
      ),
    { exact, groups: whole },
  );
  const groups = (count: number, opset: number) => () =>
    around(
      (g, a) =>
        g.op('Relu', [
          g.op('GroupNormalization', [a, ...affine(g, opset < 21 ? count : 8)], { num_groups: count }, 'gn'),
        ]),
      8,
      { opset },
    );
  inZoo('GroupNormalization of opset 18, whose scale is per group', groups(4, 18), {
    exact,
    groups: { 'a.weight': 4 },
  });
  inZoo('GroupNormalization of opset 21, whose scale is per channel', groups(4, 21), {
    exact,
    groups: { 'a.weight': 4 },
  });
  inZoo('GroupNormalization with as many groups as channels', groups(8, 21), { exact, groups: whole });
  inZoo('GroupNormalization of one group is a wall', groups(1, 21), {
    exact,
    groups: {},
    walls: { 'a.weight': /^GroupNormalization 'gn' normalises over it/ },
  });
  /** Reshape to one row per group, InstanceNormalization, and back, as exporters write it up to opset 17. */
  const rowPerGroup = (g: Net, a: string, count: number) => {
    const units = (value: number) => new Float32Array(count).fill(value);
    const neutral = [g.initializer('ones', units(1), [count]), g.initializer('zeros', units(0), [count])];
    const rows = g.op('Reshape', [a, g.ints('rows', 0, count, -1)], {}, 'rows.reshape');
    const normal = g.op('InstanceNormalization', [rows, ...neutral]);
    const back = g.op('Reshape', [normal, g.op('Shape', [a])]);
    const [scale, shift] = affine(g, 8, 1, 1);
    return g.op('Add', [g.op('Mul', [back, scale]), shift]);
  };
  inZoo('GroupNorm as Reshape and InstanceNormalization', () => around((g, a) => rowPerGroup(g, a, 4)), {
    exact,
    groups: { 'a.weight': 4 },
  });
  inZoo('the same with one group is a wall', () => around((g, a) => rowPerGroup(g, a, 1)), {
    exact,
    groups: {},
    walls: { 'a.weight': /^InstanceNormalization '\w+' normalises over it/ },
  });
  inZoo(
    'groups that two producers share through a sum',
    () =>
      around(
        (g, a) => {
          const sum = g.op('Add', [a, g.conv('X', 3, 8, { name: 'other' })]);
          return g.op('GroupNormalization', [sum, ...affine(g, 8)], { num_groups: 2 });
        },
        8,
        { opset: 21 },
      ),
    { exact, groups: { 'a.weight': 2 } },
  );
});

describe('other normalisations', () => {
  inZoo('LRN takes neighbouring channels: a wall', () => around((g, a) => g.op('LRN', [a], { size: 5 }, 'lrn')), {
    exact,
    groups: {},
    walls: { 'a.weight': /^LRN 'lrn' normalises over it/ },
  });
  inZoo(
    'what comes before the convolution in front of LRN goes',
    () => around((g, a) => g.op('LRN', [g.conv(g.op('Relu', [a]), 8, 6, { name: 'c' })], { size: 3 }, 'lrn'), 6),
    { exact, groups: whole, walls: { 'c.weight': /^LRN 'lrn'/ } },
  );
  inZoo(
    'LpNormalization over the channels is a wall',
    () => around((g, a) => g.op('LpNormalization', [a], { axis: 1 }, 'lp')),
    { exact, groups: {}, walls: { 'a.weight': /^LpNormalization 'lp' normalises over it/ } },
  );
  inZoo('LpNormalization over another axis', () => around((g, a) => g.op('LpNormalization', [a], { p: 1 })), {
    exact,
    groups: whole,
  });
  inZoo('MeanVarianceNormalization by channel', () => around((g, a) => g.op('MeanVarianceNormalization', [a])), {
    exact,
    groups: whole,
  });
  inZoo(
    'MeanVarianceNormalization over the channels is a wall',
    () => around((g, a) => g.op('MeanVarianceNormalization', [a], { axes: [1, 2, 3] }, 'mvn')),
    { exact, groups: {}, walls: { 'a.weight': /^MeanVarianceNormalization 'mvn'/ } },
  );
});
