import { describe, expect, test } from 'vitest';
import { DataType } from '../../src/onnx/index.ts';
import { parametersOf } from '../../src/prune/cost.ts';
import { cutsAgree } from './cuts-agree.ts';
import { around, couplingOf, type Net, netOf, sizes } from './nets.ts';
import { inZoo } from './zoo.ts';

const a8 = { groups: { 'a.weight': 8 } };
const ofAnyBatch = { shape: ['N', 3, 8, 8] };
const relu = (g: Net, x: string) => g.op('Relu', [x]);
const reshape = (g: Net, x: string, ...to: number[]) => g.op('Reshape', [x, g.ints(g.unique('to'), ...to)]);
const dim = (g: Net, x: string, axis: number) =>
  g.op('Gather', [g.op('Shape', [x]), g.ints(g.unique('axis'), axis)], { axis: 0 });
const vector = (g: Net, ...parts: string[]) => g.op('Concat', parts, { axis: 0 });

/** Integers that no rule works out before the graph runs. */
function computed(g: Net, ...values: number[]): string {
  const places = BigInt64Array.from(values.keys(), BigInt);
  const at = g.initializer(g.unique('places'), places, [values.length, 1]);
  return g.op('GatherND', [g.ints(g.unique('table'), ...values), at]);
}

describe('what is computed at run time', () => {
  inZoo(
    'sizes of a Split are not taken for even ones',
    () =>
      around((g, a) => {
        const outputs = ['p', 'q'];
        g.node('Split', [a, computed(g, 2, 6)], { axis: 1 }, { name: 'split', outputs });
        return g.op('Concat', ['q', relu(g, 'p')], { axis: 1 });
      }),
    {
      groups: {},
      walls: { 'a.weight': /Split 'split' are not known/, 'b.weight': /Conv 'b' are not known/ },
    },
  );
  inZoo(
    'an end of a Slice: its axis stays, the channels are cut',
    () =>
      around((g, a) => {
        g.value('slice', [1, 8, 8, 5]);
        return g.op('Slice', [a, g.ints('start', 0), computed(g, 5), g.ints('axes', 3)], {}, 'slice');
      }),
    a8,
  );
  inZoo(
    'all but the last of a batch of any length',
    () =>
      around(
        (g, a) => {
          const end = g.op('Sub', [dim(g, a, 0), g.ints('one', 1)]);
          return g.op('Slice', [a, g.ints('start', 0), end, g.ints('axes', 0), g.ints('steps', 1)]);
        },
        8,
        ofAnyBatch,
      ),
    a8,
  );
  inZoo(
    'an end of a Slice that cuts channels too',
    () =>
      around((g, a) => {
        g.value('slice', [1, 6, 5, 8]);
        return g.op('Slice', [a, g.ints('start', 1, 0), computed(g, 7, 5), g.ints('axes', 1, 2)], {}, 'slice');
      }, 6),
    { groups: {}, walls: { 'a.weight': /Slice 'slice' cuts an axis of unknown length/ } },
  );
  inZoo(
    'sizes of a Resize: what stays as long as it was is cut',
    () =>
      around((g, a) => {
        g.value('resize', [1, 8, 12, 6]);
        const to = vector(g, dim(g, a, 0), dim(g, a, 1), computed(g, 12, 6));
        return g.op('Resize', [a, '', '', to], { mode: 'nearest' }, 'resize');
      }),
    a8,
  );
  inZoo(
    'scales of a Resize',
    () =>
      around((g, a) => {
        g.value('resize', [1, 8, 16, 16]);
        const by = g.op('Cast', [computed(g, 1, 1, 2, 2)], { to: DataType.FLOAT });
        return g.op('Resize', [a, '', by], { mode: 'nearest' }, 'resize');
      }),
    { groups: {}, walls: { 'a.weight': /Resize 'resize' resizes it/ } },
  );
});

describe('lengths that are partly open', () => {
  inZoo(
    'the number of elements of a batch of any length is no number after a cut',
    () =>
      around(
        (g, a) => {
          const sum = g.op('ReduceSum', [a, g.ints('axes', 1, 2, 3)]);
          return g.op('Add', [a, g.op('Div', [sum, g.op('Cast', [g.op('Size', [a])], { to: DataType.FLOAT })])]);
        },
        8,
        ofAnyBatch,
      ),
    { groups: {}, walls: { 'a.weight': /Size '.*' counts it/ }, exact: false },
  );
  /** With channels merged into the batch in between. */
  const merged = (how: (g: Net, rows: string) => string, side = 8) =>
    around((g, a) => reshape(g, relu(g, how(g, reshape(g, a, -1, 64))), -1, 8, side, side), 8, ofAnyBatch);
  inZoo(
    'Expand to a length that channels are merged into',
    () => merged((g, rows) => g.op('Expand', [rows, g.op('Shape', [rows])])),
    a8,
  );
  inZoo(
    'Expand of a row to a length that channels are merged into',
    () => merged((g, rows) => g.op('Add', [rows, g.op('Expand', [g.weight('c', [1, 64]), g.op('Shape', [rows])])])),
    { groups: {}, walls: { 'a.weight': /Expand '.*' computes its length/ } },
  );
  inZoo(
    'ConstantOfShape of a length that channels are merged into',
    () => merged((g, rows) => g.op('Add', [rows, g.op('ConstantOfShape', [g.op('Shape', [rows])])])),
    { groups: {}, walls: { 'a.weight': /ConstantOfShape '.*' computes its length/ } },
  );
  inZoo(
    'Resize beside a length that channels are merged into',
    () =>
      merged((g, rows) => {
        const maps = reshape(g, rows, -1, 8, 8);
        return g.op('Resize', [maps, '', '', vector(g, dim(g, maps, 0), g.ints('size', 4, 4))], { mode: 'nearest' });
      }, 4),
    a8,
  );
  inZoo(
    'ConstantOfShape for a batch of any length',
    () =>
      around(
        (g, a) =>
          g.op('Concat', [a, g.op('ConstantOfShape', [vector(g, dim(g, a, 0), g.ints('rest', 8, 8, 8))])], { axis: 1 }),
        16,
        ofAnyBatch,
      ),
    a8,
  );
  for (const [type, gates] of [
    ['LSTM', 4],
    ['GRU', 3],
  ] as const) {
    cutsAgree(
      `${type} that starts from zeros, for a batch of any length`,
      () =>
        netOf(
          (g, x) => {
            const zeros = g.op('ConstantOfShape', [vector(g, g.ints('d', 1), dim(g, x, 0), g.ints('h', 6))]);
            const steps = g.op('Transpose', [x], { perm: [1, 0, 2] });
            const weights = [g.weight('W', [1, gates * 6, 5]), g.weight('R', [1, gates * 6, 6])];
            const states = type === 'LSTM' ? [zeros, zeros] : [zeros];
            g.node(
              type,
              [steps, ...weights, '', '', ...states],
              { hidden_size: 6 },
              { name: 'rnn', outputs: ['all', 'last'] },
            );
            return g.op('MatMul', [g.op('Squeeze', ['last', g.ints('zero', 0)]), g.weight('v', [6, 3])]);
          },
          { shape: ['N', 4, 5] },
        ),
      { W: 6 },
      { exact: false },
    );
  }
});

// 10 * 0.7 is 7 in float32 and less in double precision.
inZoo(
  'a size that is computed in float32',
  () =>
    netOf(
      (g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const scaled = g.op('Mul', [
          g.op('Cast', [vector(g, dim(g, a, 2), dim(g, a, 3))], { to: DataType.FLOAT }),
          g.initializer('k', Float32Array.of(0.7), []),
        ]);
        const size = g.op('Cast', [g.op('Floor', [scaled])], { to: DataType.INT64 });
        const to = vector(g, dim(g, a, 0), dim(g, a, 1), size);
        const y = g.op('Resize', [a, '', '', to], { mode: 'nearest', coordinate_transformation_mode: 'asymmetric' });
        return g.linear(g.op('Flatten', [y]), 8 * 7 * 7, 4);
      },
      { shape: [1, 3, 10, 10] },
    ),
  a8,
);

describe('axes that are too long for slices', () => {
  test('a normalisation in groups of large maps', () => {
    const coupling = couplingOf(
      netOf(
        (g, x) => {
          const rows = reshape(g, g.conv(x, 3, 8, { name: 'a' }), 0, 4, -1);
          const y = g.op('InstanceNormalization', [rows, g.weight('scale', [4]), g.weight('shift', [4])]);
          return g.conv(reshape(g, y, 1, 8, 512, 512), 8, 3, { name: 'b' });
        },
        { shape: [1, 3, 512, 512] },
      ),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 4 });
  });
  test('tokens, and more of them than there are indices for', () => {
    const coupling = couplingOf(
      netOf(
        (g, x) => {
          let tokens = g.op('Transpose', [reshape(g, g.conv(x, 3, 6, { name: 'a' }), 1, 6, -1)], { perm: [0, 2, 1] });
          for (let i = 0; i < 20; i++) {
            const inner = relu(g, g.op('MatMul', [tokens, g.weight(`u${i}`, [6, 10])]));
            const split = reshape(g, g.op('MatMul', [inner, g.weight(`d${i}`, [10, 6])]), 1, 256, 256, 6);
            tokens = g.op('Add', [tokens, reshape(g, relu(g, split), 1, 65_536, 6)]);
          }
          return g.op('MatMul', [tokens, g.weight('v', [6, 4])]);
        },
        { shape: [1, 3, 256, 256] },
      ),
    );
    const inner = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`u${i}`, 10]));
    expect(sizes(coupling)).toEqual({ 'a.weight': 6, ...inner });
  });
});

describe('weights behind nodes that depend on constants only', () => {
  const behind = (build: (g: Net, w: string) => string) => {
    const model = netOf((g, x) => g.op('MatMul', [x, build(g, g.weight('w', [4, 3]))]), { shape: ['N', 4] });
    return Object.fromEntries(parametersOf(couplingOf(model).graph));
  };
  test('on many paths', () => {
    const doubled = (g: Net, w: string) => {
      for (let i = 0; i < 60; i++) w = g.op('Add', [w, w]);
      return w;
    };
    expect(behind(doubled)).toEqual({ w: 'weight' });
  });
  test('far behind', () => {
    const long = (g: Net, w: string) => {
      for (let i = 0; i < 12_000; i++) w = g.op('Identity', [w]);
      return w;
    };
    expect(behind(long)).toEqual({ w: 'weight' });
  });
});
