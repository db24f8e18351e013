import { describe } from 'vitest';
import { type AttributeInput, DataType, float } from '../../src/onnx/index.ts';
import { around, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

const whole = { 'a.weight': 8 };

/** Conv 3>8, then ConvTranspose 8>to with the group `t.weight`, then Conv to>4. */
const transposed = (
  to: number,
  {
    group = 1,
    kernel = 3,
    bias = true,
    ...attributes
  }: Record<string, AttributeInput> & {
    group?: number;
    kernel?: number;
    bias?: boolean;
  } = {},
) =>
  around((g, a) => {
    const inputs = [g.op('Relu', [a]), g.weight('t.weight', [8, to / group, kernel, kernel])];
    if (bias) inputs.push(g.weight('t.bias', [to]));
    return g.op('Relu', [g.op('ConvTranspose', inputs, { group, ...attributes }, 't')]);
  }, to);

describe('transposed convolutions', () => {
  inZoo('ConvTranspose', () => transposed(6), { groups: { ...whole, 't.weight': 6 } });
  inZoo(
    'ConvTranspose, strided, padded and with output padding',
    () => transposed(6, { strides: [2, 3], pads: [1, 0, 0, 1], output_padding: [1, 2] }),
    { groups: { ...whole, 't.weight': 6 } },
  );
  inZoo('ConvTranspose without a bias, dilated', () => transposed(6, { bias: false, dilations: [2, 1] }), {
    groups: { ...whole, 't.weight': 6 },
  });
  inZoo('ConvTranspose with output_shape', () => transposed(6, { strides: [2, 2], output_shape: [16, 17] }), {
    groups: { ...whole, 't.weight': 6 },
  });
  for (const auto_pad of ['SAME_UPPER', 'SAME_LOWER', 'VALID']) {
    inZoo(`ConvTranspose with auto_pad ${auto_pad}`, () => transposed(6, { auto_pad, strides: [2, 2] }), {
      groups: { ...whole, 't.weight': 6 },
    });
  }
  inZoo('grouped, the same channels of every group', () => transposed(12, { group: 4 }), {
    groups: { 'a.weight': 2, 't.weight': 3 },
  });
  inZoo('grouped, whole groups', () => transposed(12, { group: 4 }), {
    groups: { 'a.weight': 4 },
    walls: { 't.weight': /^ConvTranspose 't' keeps the output channels of a group/ },
    options: { grouped: 'whole' },
  });
  inZoo('depthwise', () => transposed(8, { group: 8, strides: [2, 2], kernel: 2 }), { groups: whole });
  inZoo('depthwise with two outputs each', () => transposed(16, { group: 8 }), { groups: whole });
  inZoo(
    'ConvTranspose 1-D in an encoder and decoder with a skip connection',
    () =>
      netOf(
        (g, x) => {
          const conv = (name: string, type: string, value: string, dims: number[], strides: number[]) =>
            g.op(type, [value, g.weight(`${name}.weight`, dims)], { strides, pads: [1, 1] }, name);
          const skip = g.op('Relu', [conv('a', 'Conv', x, [6, 3, 3], [1])]);
          const down = g.op('Relu', [conv('b', 'Conv', skip, [8, 6, 4], [2])]);
          const up = g.op('Relu', [conv('c', 'ConvTranspose', down, [8, 5, 4], [2])]);
          return conv('d', 'Conv', g.op('Concat', [up, skip], { axis: 1 }), [4, 11, 3], [1]);
        },
        { shape: [1, 3, 16] },
      ),
    { groups: { 'a.weight': 6, 'b.weight': 8, 'c.weight': 5 } },
  );
});

/** The constant inputs of a Resize: roi, and scales or sizes. Up to opset 12 none of them may be left out. */
const none = (g: Net) => g.initializer(g.unique('none'), new Float32Array(), [0]);
const scaled = (g: Net, ...scales: number[]) => [
  none(g),
  g.initializer(g.unique('scales'), Float32Array.from(scales), [scales.length]),
];
const sized = (g: Net, ...sizes: number[]) => ['', '', g.ints(g.unique('sizes'), ...sizes)];
const nearest = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };

describe('resizing', () => {
  for (const opset of [11, 13, 18, 19]) {
    inZoo(
      `Resize of opset ${opset} by scales`,
      () => around((g, a) => g.op('Resize', [a, ...scaled(g, 1, 1, 2, 2)], nearest), 8, { opset }),
      { groups: whole },
    );
  }
  inZoo(
    'Resize of opset 10',
    () => around((g, a) => g.op('Resize', [a, scaled(g, 1, 1, 2, 0.5)[1]]), 8, { opset: 10 }),
    { groups: whole },
  );
  for (const mode of ['linear', 'cubic']) {
    inZoo(
      `Resize to sizes that hold the channels, ${mode}`,
      () => around((g, a) => g.op('Resize', [a, ...sized(g, 1, 8, 11, 5)], { mode })),
      { exact: false, groups: whole },
    );
  }
  inZoo(
    'Resize of chosen axes',
    () => around((g, a) => g.op('Resize', [a, ...sized(g, 16, 4)], { ...nearest, axes: [3, 2] }), 8, { opset: 18 }),
    { groups: whole },
  );
  inZoo(
    'Resize that keeps the ratio of the sides',
    () =>
      around(
        (g, a) =>
          g.op('Resize', [a, ...sized(g, 12, 16)], {
            ...nearest,
            axes: [2, 3],
            keep_aspect_ratio_policy: 'not_larger',
          }),
        8,
        { opset: 18 },
      ),
    { groups: whole },
  );
  inZoo(
    'Resize of the channels themselves is a wall',
    () => around((g, a) => g.op('Resize', [a, ...scaled(g, 1, 2, 1, 1)], nearest, 'r'), 16),
    { groups: {}, walls: { 'a.weight': /^Resize 'r' resizes it/ } },
  );
  inZoo(
    'Resize to the size of another map, read off its shape',
    () =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const small = g.conv(a, 8, 6, { name: 'b', attributes: { strides: [2, 2] } });
        const part = (value: string, from: number, to: number) =>
          g.op('Slice', [g.op('Shape', [value]), g.ints(g.unique('s'), from), g.ints(g.unique('e'), to)]);
        const sizes = g.op('Concat', [part(small, 0, 2), part(a, 2, 4)], { axis: 0 });
        const up = g.op('Resize', [small, '', '', sizes], nearest);
        return g.conv(g.op('Concat', [up, a], { axis: 1 }), 14, 4, { name: 'c' });
      }),
    { groups: { ...whole, 'b.weight': 6 } },
  );
  inZoo(
    'Resize to a size that is put together at run time, for a batch of any length',
    () =>
      netOf(
        (g, x) => {
          const a = g.conv(x, 3, 8, { name: 'a' });
          const start = g.op('Slice', [g.op('Shape', [a]), g.ints('start', 0), g.ints('end', 2)]);
          const sizes = g.op('Concat', [start, g.ints('sides', 16, 12)], { axis: 0 });
          return g.conv(g.op('Resize', [a, '', '', sizes], nearest), 8, 4, { name: 'b' });
        },
        { shape: ['N', 3, 8, 8] },
      ),
    { groups: whole },
  );
  inZoo(
    'Upsample of opset 7',
    () => around((g, a) => g.op('Upsample', [a], { scales: float([1, 1, 2, 3]), mode: 'nearest' }), 8, { opset: 7 }),
    { groups: whole },
  );
  inZoo(
    'Upsample of opset 9',
    () => around((g, a) => g.op('Upsample', [a, scaled(g, 1, 1, 2, 2)[1]]), 8, { opset: 9 }),
    {
      groups: whole,
    },
  );
});

describe('blocks of channels and pixels', () => {
  /** Conv 3>16, DepthToSpace to 4 channels, Conv 4>5. */
  const shuffled =
    (attributes: Record<string, AttributeInput>, opset = 17) =>
    () =>
      netOf(
        (g, x) => {
          const a = g.conv(x, 3, 16, { name: 'a' });
          return g.conv(g.op('Relu', [g.op('DepthToSpace', [a], { blocksize: 2, ...attributes })]), 4, 5, {
            name: 'b',
          });
        },
        { opset },
      );
  inZoo('DepthToSpace', shuffled({}, 9), { groups: { 'a.weight': 4 } });
  inZoo('DepthToSpace, depth first', shuffled({ mode: 'DCR' }), { groups: { 'a.weight': 4 } });
  inZoo('DepthToSpace, column first, as PixelShuffle', shuffled({ mode: 'CRD' }), { groups: { 'a.weight': 4 } });
  inZoo('SpaceToDepth', () => around((g, a) => g.op('SpaceToDepth', [a], { blocksize: 2 }), 32), { groups: whole });
  inZoo(
    'DepthToSpace of SpaceToDepth, added to what came in',
    () =>
      around((g, a) => {
        const deep = g.op('SpaceToDepth', [a], { blocksize: 2 });
        return g.op('Add', [a, g.op('DepthToSpace', [deep], { blocksize: 2, mode: 'DCR' })]);
      }),
    { groups: whole },
  );
});

describe('broadcasts', () => {
  inZoo(
    'Expand of a squeezed map to the size of the main path',
    () =>
      around((g, a) => {
        const squeezed = g.conv(g.op('GlobalMaxPool', [a]), 8, 8, { name: 'e', kernel: 1 });
        return g.op('Add', [a, g.op('Expand', [squeezed, g.ints('size', 1, 8, 8, 8)])]);
      }),
    { groups: whole },
  );
  inZoo(
    'Expand of one map to all channels',
    () => around((g, a) => g.op('Mul', [a, g.op('Expand', [g.conv('X', 3, 1), g.ints('size', 1, 8, 1, 1)])])),
    { groups: whole, walls: { 'conv0.weight': /^Expand|single channel/ } },
  );
  inZoo(
    'Expand to the shape of the main path',
    () => around((g, a) => g.op('Add', [a, g.op('Expand', [g.weight('c', [1, 8, 1, 1]), g.op('Shape', [a])])])),
    { groups: whole },
  );
  inZoo(
    'Expand to a shape that is read off at run time, for a batch of any length',
    () =>
      netOf(
        (g, x) => {
          const a = g.conv(x, 3, 8, { name: 'a' });
          const constant = g.op('Expand', [g.weight('c', [8, 1, 1]), g.op('Shape', [a])]);
          const pooled = g.op('Expand', [g.op('GlobalMaxPool', [a]), g.op('Shape', [a])]);
          return g.conv(g.op('Sum', [a, constant, pooled]), 8, 4, { name: 'b' });
        },
        { shape: ['N', 3, 8, 8] },
      ),
    { groups: whole },
  );
  inZoo(
    'ConstantOfShape of the shape of the main path',
    () => around((g, a) => g.op('Add', [a, g.op('ConstantOfShape', [g.op('Shape', [a])])])),
    { groups: whole },
  );
  inZoo(
    'Tile of the squeezed map, joined with the main path',
    () =>
      around((g, a) => {
        const squeezed = g.conv(g.op('GlobalMaxPool', [a]), 8, 6, { name: 'e', kernel: 1 });
        return g.op('Concat', [a, g.op('Tile', [squeezed, g.ints('repeats', 1, 1, 8, 8)])], { axis: 1 });
      }, 14),
    { groups: { ...whole, 'e.weight': 6 } },
  );
  inZoo(
    'Tile of the channels',
    () => around((g, a) => g.op('Relu', [g.op('Tile', [a, g.ints('repeats', 1, 3, 1, 1)])]), 24),
    { groups: whole },
  );
  inZoo(
    'Tile of one map to all channels',
    () => around((g, a) => g.op('Mul', [a, g.op('Tile', [g.conv('X', 3, 1), g.ints('repeats', 1, 8, 1, 1)])])),
    { groups: whole, walls: { 'conv0.weight': /^Tile|single channel/ } },
  );
});

describe('choices', () => {
  const bools = (g: Net, name: string, dims: number[]) =>
    g.initializer(
      name,
      Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Number(i % 3 > 0)),
      dims,
      DataType.BOOL,
    );
  const zero = (g: Net) => g.initializer(g.unique('zero'), Float32Array.of(0), []);
  inZoo(
    'Where with a constant condition per channel',
    () => around((g, a) => g.op('Where', [bools(g, 'm', [8, 1, 1]), a, zero(g)])),
    { groups: whole },
  );
  inZoo(
    'Where with a condition per channel that other constants make',
    () =>
      around((g, a) => {
        const both = g.op('Not', [g.op('Reshape', [bools(g, 'm', [8]), g.ints('to', 1, 8, 1, 1)])]);
        const codes = g.initializer('codes', BigInt64Array.from([1n, 0n, 1n, 1n, 0n, 1n, 1n, 0n]), [8]);
        const other = g.op('Unsqueeze', [
          g.op('Cast', [g.op('Identity', [codes])], { to: DataType.BOOL }),
          g.ints('u', 1, 2),
        ]);
        return g.op('Where', [both, a, g.op('Where', [other, g.op('Neg', [a]), zero(g)])]);
      }),
    { groups: whole },
  );
  inZoo(
    'Where with a constant branch per channel',
    () => around((g, a) => g.op('Where', [bools(g, 'm', [8, 8]), a, g.weight('w', [1, 8, 1, 1])])),
    { groups: whole },
  );
  inZoo(
    'Where with a condition that is computed, as a decomposed Relu',
    () => around((g, a) => g.op('Where', [g.op('Greater', [a, zero(g)]), a, zero(g)])),
    { groups: whole },
  );
  inZoo(
    'Where between two producers',
    () =>
      around((g, a) => {
        const other = g.conv('X', 3, 8, { name: 'c' });
        return g.op('Where', [g.op('Less', [a, other]), a, other]);
      }),
    { groups: whole },
  );
  inZoo(
    'comparisons and logic as a mask of numbers',
    () =>
      around((g, a) => {
        const other = g.conv('X', 3, 8, { name: 'c' });
        const either = g.op('Or', [
          g.op('And', [g.op('GreaterOrEqual', [a, other]), g.op('Not', [g.op('Equal', [other, zero(g)])])]),
          g.op('Xor', [g.op('LessOrEqual', [a, zero(g)]), g.op('IsNaN', [other])]),
        ]);
        return g.op('Cast', [either], { to: DataType.FLOAT });
      }),
    { groups: whole },
  );
});

describe('pools and samples', () => {
  const pool =
    (type: string, attributes: Record<string, AttributeInput>, opset = 17) =>
    () =>
      around((g, a) => g.op(type, [a], { kernel_shape: [2, 2], ...attributes }, 'pool'), 8, { opset });
  inZoo('MaxPool, dilated and rounded up', pool('MaxPool', { dilations: [2, 2], strides: [2, 2], ceil_mode: 1 }), {
    groups: whole,
  });
  inZoo('AveragePool, padded and dilated', pool('AveragePool', { dilations: [2, 2], count_include_pad: 1 }, 19), {
    groups: whole,
  });
  inZoo('LpPool', pool('LpPool', { p: 3, strides: [2, 2] }), { exact: false, groups: whole });
  inZoo('GlobalLpPool', () => around((g, a) => g.op('Add', [a, g.op('GlobalLpPool', [a], { p: 1 })])), {
    groups: whole,
  });
  const indexed = (g: Net, a: string) =>
    g.node('MaxPool', [a], { kernel_shape: [2, 2], strides: [2, 2] }, { name: 'pool', outputs: ['pool', 'where'] });
  inZoo(
    'MaxPool whose indices are used, and MaxUnpool, are a wall',
    () =>
      around((g, a) => {
        const [y, indices] = indexed(g, g.op('Relu', [g.conv(g.op('Relu', [a]), 8, 6, { name: 'c' })]));
        return g.op('MaxUnpool', [g.op('Relu', [y]), indices], { kernel_shape: [2, 2], strides: [2, 2] }, 'unpool');
      }, 6),
    { groups: whole, walls: { 'c.weight': /^Max(Unp|P)ool '(un)?pool' (is told places|gives indices)/ } },
  );
  const rois = (g: Net, columns: number) =>
    g.initializer('rois', Float32Array.of(...(columns === 5 ? [0] : []), 0, 0, 4, 4), [1, columns]);
  inZoo(
    'RoiAlign',
    () =>
      around((g, a) => {
        const attributes = { output_height: 2, output_width: 2, sampling_ratio: 2 };
        return g.op('RoiAlign', [a, rois(g, 4), g.ints('images', 0)], attributes);
      }),
    { exact: false, groups: whole },
  );
  inZoo('MaxRoiPool', () => around((g, a) => g.op('MaxRoiPool', [a, rois(g, 5)], { pooled_shape: [2, 2] })), {
    groups: whole,
  });
  inZoo(
    'a spatial transformer: GridSample by AffineGrid, whose places come from the channels',
    () =>
      around(
        (g, a) => {
          const pooled = g.op('Flatten', [g.op('GlobalAveragePool', [g.op('Relu', [a])])]);
          const theta = g.op('Reshape', [g.op('Tanh', [g.linear(pooled, 8, 6, 'loc')]), g.ints('t', -1, 2, 3)]);
          const grid = g.op('AffineGrid', [theta, g.ints('size', 1, 8, 8, 8)], {}, 'affine');
          return g.op('GridSample', [a, grid], { mode: 'linear' }, 'sample');
        },
        8,
        { opset: 20 },
      ),
    { exact: false, groups: whole, walls: { 'loc.weight': /'affine'|Reshape/ } },
  );
  inZoo(
    'CumSum along the rows, and along the channels as a wall',
    () =>
      around((g, a) => {
        const one = (name: string, axis: number) => g.initializer(name, Int32Array.of(axis), []);
        const along = g.op('CumSum', [a, one('rows', 2)]);
        const c = g.conv(along, 8, 6, { name: 'c' });
        return g.op('CumSum', [c, one('channels', 1)], {}, 'sum');
      }, 6),
    { groups: whole, walls: { 'c.weight': /^CumSum 'sum' accumulates along it/ } },
  );
});
