import { describe } from 'vitest';
import { around, head, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

const relu = (g: Net, x: string) => g.op('Relu', [x]);
const reshape = (g: Net, x: string, ...to: number[]) => g.op('Reshape', [x, g.ints(g.unique('to'), ...to)]);
const dim = (g: Net, x: string, axis: number) =>
  g.op('Gather', [g.op('Shape', [x]), g.ints(g.unique('axis'), axis)], { axis: 0 });

/** Conv 3>6 on a dynamic batch of 4x4 images, then whatever makes 96 columns of it, then a linear layer. */
const flattened = (how: (g: Net, a: string) => string) =>
  netOf((g, x) => g.linear(how(g, relu(g, g.conv(x, 3, 6, { name: 'a' }))), 96, 4, 'head'), { shape: ['N', 3, 4, 4] });

describe('from images to columns', () => {
  const a6 = { groups: { 'a.weight': 6 } };
  inZoo('Flatten (TP #125)', () => flattened((g, a) => g.op('Flatten', [a])), a6);
  inZoo('Reshape to [N, -1] by zero and minus one', () => flattened((g, a) => reshape(g, a, 0, -1)), a6);
  inZoo('view with the count written out (TP #125: 512 to 4096)', () => flattened((g, a) => reshape(g, a, -1, 96)), a6);
  inZoo(
    'view(x.size(0), -1) as exporters write it (TP #451)',
    () => flattened((g, a) => g.op('Reshape', [a, g.op('Concat', [dim(g, a, 0), g.ints('rest', -1)], { axis: 0 })])),
    a6,
  );
  inZoo(
    'view(b, c * h * w): the count is computed from the shape (TP #474)',
    () =>
      flattened((g, a) => {
        const columns = g.op('Mul', [g.op('Mul', [dim(g, a, 1), dim(g, a, 2)]), dim(g, a, 3)]);
        return g.op('Reshape', [a, g.op('Concat', [dim(g, a, 0), columns], { axis: 0 })]);
      }),
    a6,
  );
  inZoo('two steps: [N, C, HW], then all', () => flattened((g, a) => reshape(g, reshape(g, a, 0, 6, -1), 0, 96)), a6);
  inZoo(
    'channels last, then flattened (TinyNN #65)',
    () => flattened((g, a) => g.op('Flatten', [g.op('Transpose', [a], { perm: [0, 2, 3, 1] })])),
    a6,
  );
  inZoo(
    'linear layers that enter the graph behind a pool (TP #188)',
    () => netOf((g, x) => head(g, relu(g, g.conv(x, 3, 8, { name: 'a' })), 8)),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'ReduceMean over space, Squeeze and Unsqueeze',
    () =>
      around((g, a) => {
        const mean = g.op('ReduceMean', [a], { axes: [2, 3], keepdims: 0 });
        const row = g.op('Unsqueeze', [mean, g.ints('u', 0)]);
        const map = g.op('Unsqueeze', [g.op('Squeeze', [row, g.ints('s', 0)]), g.ints('v', -1, -2)]);
        return g.op('Add', [a, map]);
      }),
    { groups: { 'a.weight': 8 } },
  );
});

describe('Reshape and Transpose', () => {
  inZoo(
    'reshape merging channel and space, channels slowest',
    () => around((g, a) => reshape(g, relu(g, reshape(g, a, 1, 512)), 1, 8, 8, 8)),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'reshape merging channel and space, channels fastest (OTO-pf #32)',
    () =>
      around((g, a) => {
        const last = g.op('Transpose', [a], { perm: [0, 2, 3, 1] });
        const rows = relu(g, reshape(g, last, 1, 8, 64));
        return g.op('Transpose', [reshape(g, rows, 1, 8, 8, 8)], { perm: [0, 3, 1, 2] });
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'tokens: [N, C, HW] to [N, HW, C] and a linear layer (ViT patches)',
    () =>
      netOf((g, x) => {
        const rows = g.op('Transpose', [reshape(g, g.conv(x, 3, 8, { name: 'a' }), 1, 8, -1)], { perm: [0, 2, 1] });
        return g.op('MatMul', [relu(g, g.op('MatMul', [rows, g.weight('w', [8, 6])])), g.weight('v', [6, 4])]);
      }),
    { groups: { 'a.weight': 8, w: 6 } },
  );
  inZoo(
    'channels that become a batch: one is cut as any other axis',
    () =>
      netOf((g, x) => {
        const maps = g.op('Transpose', [g.conv(x, 3, 8, { name: 'a' })], { perm: [1, 0, 2, 3] });
        return g.op('ReduceSum', [relu(g, maps), g.ints('axes', 0)]);
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'space merged with space, the channels beside it',
    () => around((g, a) => reshape(g, reshape(g, a, 1, 8, -1), 1, 8, 8, 8)),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'a Transpose that changes nothing, hidden width as long as the batch (B07)',
    () =>
      netOf(
        (g, x) => {
          const y = relu(g, g.op('MatMul', [x, g.weight('w', [6, 8])]));
          const same = g.op('Transpose', [y], { perm: [0, 1] });
          return g.op('Add', [g.op('MatMul', [same, g.weight('v', [8, 5])]), g.weight('b', [5])]);
        },
        { shape: [8, 6] },
      ),
    { groups: { w: 8 } },
  );
  inZoo(
    'a target that two Reshapes share',
    () =>
      netOf((g, x) => {
        const to = g.ints('to', 1, 8, 64);
        const rows = (name: string) => g.op('Reshape', [g.conv(x, 3, 8, { name }), to]);
        const back = (y: string, name: string) => g.conv(reshape(g, y, 1, 8, 8, 8), 8, 4, { name });
        return [back(rows('a'), 'c'), back(relu(g, rows('b')), 'd')];
      }),
    { groups: { 'a.weight': 8, 'b.weight': 8 } },
  );
});

describe('lengths that are read off shapes', () => {
  inZoo(
    'a scale of 1 / width is what it was before the cut',
    () =>
      around((g, a) => {
        const width = g.op('Cast', [dim(g, a, 1)], { to: 1 });
        return g.op('Mul', [a, g.op('Sub', [width, g.weight('one', [1])])]);
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'a Slice up to half of the channels, computed from the shape (NNI #5416)',
    () =>
      around((g, a) => {
        const half = g.op('Div', [dim(g, a, 1), g.ints('two', 2)]);
        return g.op('Slice', [a, g.ints('from', 0), half, g.ints('axis', 1)]);
      }, 4),
    { groups: { 'a.weight': 4, 'a.weight#2': 4 } },
  );
});

describe('sums and statistics over channels', () => {
  inZoo(
    'a sum over the channels is cut as a convolution is',
    () => around((g, a) => g.op('Add', [g.op('ReduceSum', [a, g.ints('axes', 1)]), g.weight('c', [1, 6, 1, 1])]), 6),
    { groups: { 'a.weight': 8 } },
  );
  for (const type of ['ReduceMean', 'ReduceMax', 'ReduceMin']) {
    inZoo(
      `${type} over the channels is a wall, what comes before it is cut`,
      () =>
        around((g, a) => {
          const wide = g.conv(relu(g, a), 8, 6, { name: 'w' });
          return g.op('Add', [wide, g.op(type, [wide], { axes: [1] }, 'stat')]);
        }, 6),
      { groups: { 'a.weight': 8 }, walls: { 'w.weight': new RegExp(`${type} 'stat'`) } },
    );
  }
  for (const axis of [1, -3]) {
    inZoo(
      `Softmax over the channels is a wall, axis ${axis}`,
      () => around((g, a) => g.op('Softmax', [relu(g, a)], { axis }, 'soft')),
      { groups: {}, walls: { 'a.weight': /Softmax 'soft'/ } },
    );
  }
  inZoo('Softmax over space is none', () => around((g, a) => g.op('Softmax', [a], { axis: -1 }, 'soft')), {
    groups: { 'a.weight': 8 },
    exact: false,
  });
  inZoo(
    'an operator of another domain is a wall, and what is beside it is cut (TP graph.py, finding 5)',
    () =>
      netOf(
        (g, x) => {
          const same = g.node(
            'SampleOp',
            [g.conv(x, 3, 8, { name: 'a' })],
            {},
            { name: 'strange', domain: 'com.microsoft' },
          );
          const plain = g.conv(relu(g, g.conv(x, 3, 6, { name: 'p' })), 6, 3, { name: 'q' });
          return [g.conv(g.value(same, [1, 8, 8, 8]), 8, 4, { name: 'b' }), plain];
        },
        { domains: { 'com.microsoft': 1 } },
      ),
    { groups: { 'p.weight': 6 }, walls: { 'a.weight': /com\.microsoft::SampleOp.*'strange'/ } },
  );
});
