import { describe, expect, test } from 'vitest';
import { buildNetwork } from '../../src/zoo/index.ts';
import { couplingOf, head, membersOf, type Net, netOf, reasons, sizes } from './nets.ts';

const zoo = (name: string, shortcut?: 'A' | 'B', size: readonly [number, number] = [32, 32]) =>
  couplingOf(buildNetwork(name, { classes: 10, channels: 3, size, seed: 0, shortcut, initialise: false }));

describe('groups of networks', () => {
  test('ResNet-20 B: an inner group for each of 9 blocks, three streams', () => {
    const { groups, walled } = zoo('resnet20', 'B');
    const bySize = (size: number) => groups.filter(group => group.size === size).length;
    expect([16, 32, 64].map(bySize)).toEqual([4, 4, 4]);
    expect(groups[0].members.filter(({ weight }) => weight === 'out')).toHaveLength(4);
    expect(walled.map(({ reason }) => reason)).toEqual(["graph output 'logits'"]);
  });

  test('ResNet-20 A: padded streams are groups of 16, 16 and 32', () => {
    const { groups } = zoo('resnet20', 'A');
    const streams = groups.filter(group => group.members.filter(({ weight }) => weight === 'out').length > 1);
    expect(streams.map(({ size }) => size)).toEqual([16, 16, 32]);
    // The stem and 9 blocks write channels of the first stage, 6 of the second, 3 of the third.
    const writers = streams.map(({ members }) => members.filter(({ weight }) => weight === 'out').length);
    expect(writers).toEqual([10, 6, 3]);
    expect(groups).toHaveLength(12);
  });

  test('VGG-11: an index of the last group is a block of 7x7 columns of the first linear layer', () => {
    const coupling = zoo('vgg11-bn', undefined, [224, 224]);
    expect(coupling.groups.map(({ size }) => size)).toEqual([64, 128, 256, 256, 512, 512, 512, 512, 4096, 4096]);
    const last = coupling.groups[7];
    expect(last.members.find(({ weight }) => weight === 'in')?.multiplicity).toBe(49);
    const columns = last.members.find(({ weight }) => weight === 'in')!;
    const channels = coupling.channelsOf(columns)!;
    expect([0, 48, 49, 25087].map(i => channels[i] - coupling.offsets[7])).toEqual([0, 0, 1, 511]);
  });

  test('LeNet-5 and an MLP: one group a layer, the classes stay', () => {
    expect(zoo('lenet5').groups.map(({ size }) => size)).toEqual([6, 16, 120, 84]);
    expect(zoo('mlp').groups.map(({ size }) => size)).toEqual([300, 100]);
  });

  test('bottleneck blocks: two inner groups each', () => {
    const { groups } = zoo('resnet50-cifar');
    // 16 blocks with two inner convolutions, the stem, and one stream for each of 4 stages.
    expect(groups).toHaveLength(16 * 2 + 1 + 4);
  });
});

describe('Conv', () => {
  test('couples rows, bias, norm and the next columns', () => {
    const coupling = couplingOf(
      netOf((g, x) => g.conv(g.op('Relu', [g.norm(g.conv(x, 3, 8, { name: 'a' }), 8, 'n')]), 8, 4, { name: 'b' })),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 8 });
    const vectors = ['mean', 'scale', 'shift', 'variance'].map(part => `n.${part} 0`);
    expect(membersOf(coupling, 'a.weight')).toEqual(
      ['a 1', 'a.bias 0', 'a.weight 0', 'b.weight 1', 'n 1', ...vectors, 'relu0 1'].sort(),
    );
    expect(reasons(coupling)).toEqual({ 'b.weight': "graph output 'b'" });
  });

  test('depthwise follows its input', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const d = g.conv(a, 8, 16, { name: 'd', group: 8 });
        return g.conv(d, 16, 4, { name: 'b' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 8 });
    expect(membersOf(coupling, 'a.weight')).toEqual(
      expect.arrayContaining(['d.weight 0 x2', 'd.bias 0 x2', 'b.weight 1 x2', 'a.weight 0']),
    );
    expect(new Set(coupling.sums.map(({ node }) => node.name))).toEqual(new Set(['a', 'b']));
  });

  const grouped = () =>
    netOf((g, x) => {
      const a = g.conv(x, 3, 8, { name: 'a' });
      const m = g.conv(a, 8, 12, { name: 'm', group: 4 });
      return g.conv(m, 12, 4, { name: 'b' });
    });

  test('grouped, equal: the same inputs and outputs of every group', () => {
    const coupling = couplingOf(grouped());
    expect(sizes(coupling)).toEqual({ 'a.weight': 2, 'm.weight': 3 });
    expect([...coupling.channelsOf({ value: 'a.weight', axis: 0 })!]).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
    expect([...coupling.channelsOf({ value: 'm.weight', axis: 1 })!]).toEqual([0, 1]);
    expect([...coupling.channelsOf({ value: 'm.weight', axis: 0 })!].map(c => c - 2)).toEqual(
      Array.from({ length: 12 }, (_, o) => o % 3),
    );
  });

  test('grouped, whole: a group goes with its inputs and outputs', () => {
    const coupling = couplingOf(grouped(), { grouped: 'whole' });
    expect(sizes(coupling)).toEqual({ 'a.weight': 4 });
    expect([...coupling.channelsOf({ value: 'a.weight', axis: 0 })!]).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect([...coupling.channelsOf({ value: 'm.weight', axis: 0 })!]).toEqual(
      Array.from({ length: 12 }, (_, o) => Math.floor(o / 3)),
    );
    expect(coupling.channelsOf({ value: 'm.weight', axis: 1 })).toBeNull();
    expect(new Set(coupling.sums.map(({ node }) => node.name))).toEqual(new Set(['a', 'b']));
  });
});

describe('linear layers', () => {
  test.each([
    ['x W + b', (g: Net, x: string) => g.op('MatMul', [x, g.weight('w', [12, 8])])],
    [
      'x Wᵀ + b',
      (g: Net, x: string) => g.op('MatMul', [x, g.op('Transpose', [g.weight('w', [8, 12])], { perm: [1, 0] })]),
    ],
  ])('%s, the bias on either side', (_, layer) => {
    for (const biasFirst of [false, true]) {
      const coupling = couplingOf(
        netOf(
          (g, x) => {
            const y = layer(g, x);
            const b = g.weight('b', [8]);
            return g.linear(g.op('Relu', [g.op('Add', biasFirst ? [b, y] : [y, b])]), 8, 5, 'head');
          },
          { shape: ['N', 12] },
        ),
      );
      expect(coupling.groups.map(({ size }) => size)).toEqual([8]);
      expect(coupling.groups[0].members.map(({ value }) => value)).toEqual(
        expect.arrayContaining(['w', 'b', 'head.weight']),
      );
    }
  });

  test('a weight on the left of MatMul has its outputs in its rows', () => {
    const coupling = couplingOf(
      netOf(
        (g, x) => {
          const y = g.op('MatMul', [g.weight('w', [6, 12]), x]);
          return g.op('MatMul', [g.weight('v', [4, 6]), y]);
        },
        { shape: [12, 'N'] },
      ),
    );
    expect(sizes(coupling)).toEqual({ w: 6 });
    expect(membersOf(coupling, 'w')).toEqual(expect.arrayContaining(['w 0', 'v 1']));
  });
});

describe('channels that are joined, split and picked', () => {
  test('Concat keeps the parts apart', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const parts = [g.conv(x, 3, 4, { name: 'a' }), g.conv(x, 3, 6, { name: 'b' })];
        return g.conv(g.op('Concat', parts, { axis: 1 }), 10, 2, { name: 'c' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 4, 'b.weight': 6 });
  });

  test('concat(x, x): a channel lies twice on the joined axis', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 4, { name: 'a' });
        return g.conv(g.op('Concat', [a, a], { axis: 1 }, 'both'), 8, 2, { name: 'c' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 4 });
    expect(membersOf(coupling, 'a.weight')).toEqual(expect.arrayContaining(['both 1 x2', 'c.weight 1 x2']));
  });

  test.each([2, -2, 3, 0])('Concat on axis %i joins the channels themselves (B02)', axis => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const parts = [g.conv(x, 3, 6, { name: 'a' }), g.conv(x, 3, 6, { name: 'b' })];
        const joined = g.op('Relu', [g.norm(g.op('Concat', parts, { axis }), 6, 'n')]);
        return g.conv(joined, 6, 4, { name: 'c' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 6 });
    expect(membersOf(coupling, 'a.weight')).toEqual(
      expect.arrayContaining(['a.weight 0', 'b.weight 0', 'n.scale 0', 'c.weight 1']),
    );
  });

  test('Slices that split an axis make a group of each part', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const part = (from: number, to: number) =>
          g.op('Slice', [a, g.ints(`s${from}`, from), g.ints(`e${from}`, to), g.ints(`x${from}`, 1)]);
        return [g.conv(part(0, 3), 3, 2, { name: 'b' }), g.conv(part(3, 8), 5, 2, { name: 'c' })];
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 3, 'a.weight#2': 5 });
    expect(membersOf(coupling, 'a.weight#2')).toEqual(expect.arrayContaining(['c.weight 1']));
  });

  test.each([
    ['even parts', [4, 4]],
    ['uneven parts', [3, 5]],
  ])('Split into %s makes a group of each', (_, parts) => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const [p, q] = g.node('Split', [a, g.ints('sizes', ...parts)], { axis: 1 }, { outputs: ['p', 'q'] });
        return [g.conv(p, parts[0], 2, { name: 'b' }), g.conv(q, parts[1], 2, { name: 'c' })];
      }),
    );
    expect(Object.values(sizes(coupling))).toEqual(parts);
    expect(membersOf(coupling, 'a.weight#2')).toEqual(expect.arrayContaining(['c.weight 1', 'q 1']));
  });

  test('a mirrored Slice maps channel i to 7 - i (B03)', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const ends = [g.ints('s', -1), g.ints('e', Number.MIN_SAFE_INTEGER), g.ints('a', 1), g.ints('t', -1)];
        return g.conv(g.op('Slice', [g.conv(x, 3, 8, { name: 'a0' }), ...ends]), 8, 5, { name: 'b' });
      }),
    );
    expect([...coupling.channelsOf({ value: 'b.weight', axis: 1 })!]).toEqual([7, 6, 5, 4, 3, 2, 1, 0]);
  });

  test('channels that a strided Slice drops are a group of their own', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const every = [g.ints('s', -1), g.ints('e', -100), g.ints('a', -3), g.ints('t', -2)];
        return g.conv(g.op('Slice', [g.conv(x, 3, 8, { name: 'a0' }), ...every]), 4, 5, { name: 'b' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a0.weight': 4, 'a0.weight#2': 4 });
    expect([...coupling.channelsOf({ value: 'b.weight', axis: 1 })!]).toEqual([7, 6, 5, 4]);
  });

  test('Gather [0, 0, 1]: channels that are there twice are told from those that are there once', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const picked = g.op('Gather', [g.conv(x, 3, 4, { name: 'a' }), g.ints('i', 0, 0, 1, 2, 3)], { axis: 1 });
        return g.conv(picked, 5, 2, { name: 'b' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight#2': 3 });
    expect(reasons(coupling)['a.weight']).toBe('it is a single channel');
  });

  test('Pad along channels: the padded ones go with what is added to them', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 4, { name: 'a' });
        const padded = g.op('Pad', [a, g.ints('pads', 0, 2, 0, 0, 0, 2, 0, 0)]);
        const b = g.conv(a, 4, 8, { name: 'b' });
        return head(g, g.op('Add', [padded, b]), 8);
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 4, 'b.weight': 4 });
    const columns = coupling.channelsOf({ value: 'head.weight', axis: 1 })!;
    expect([...columns]).toEqual([4, 5, 0, 1, 2, 3, 6, 7]);
  });

  test('a residual convolution of a value with itself', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        return head(g, g.op('Add', [a, g.conv(a, 8, 8, { name: 'b' })]), 8);
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 8 });
    expect(membersOf(coupling, 'a.weight')).toEqual(
      expect.arrayContaining(['b.weight 0', 'b.weight 1', 'head.weight 1']),
    );
  });
});

describe('broadcasting', () => {
  test.each(['Mul', 'Add'])('a one-channel map is in no group with what it is combined with: %s (B01)', op => {
    for (const mapFirst of [true, false]) {
      const coupling = couplingOf(
        netOf((g, x) => {
          const a = g.conv(x, 3, 8, { name: 'a' });
          const m = g.op('Relu', [g.conv(x, 3, 1, { name: 'm' })]);
          return g.conv(g.op(op, mapFirst ? [m, a] : [a, m]), 8, 4, { name: 'b' });
        }),
      );
      expect(sizes(coupling)).toEqual({ 'a.weight': 8 });
      expect(reasons(coupling)['m.weight']).toMatch(new RegExp(`^${op} '.*' broadcasts it$`));
    }
  });

  test('a scale per channel follows', () => {
    const coupling = couplingOf(
      netOf((g, x) =>
        g.conv(g.op('Mul', [g.conv(x, 3, 8, { name: 'a' }), g.weight('s', [8, 1, 1])]), 8, 4, { name: 'b' }),
      ),
    );
    expect(membersOf(coupling, 'a.weight')).toEqual(expect.arrayContaining(['s 0']));
  });

  test('squeeze and excitation: the gate follows the main path', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const squeezed = g.op('Relu', [g.conv(g.op('GlobalAveragePool', [a]), 8, 4, { name: 's', kernel: 1 })]);
        const gate = g.op('Sigmoid', [g.conv(squeezed, 4, 8, { name: 'e', kernel: 1 })]);
        return g.conv(g.op('Mul', [a, gate]), 8, 5, { name: 'b' });
      }),
    );
    expect(sizes(coupling)).toEqual({ 'a.weight': 8, 's.weight': 4 });
    expect(membersOf(coupling, 'a.weight')).toEqual(expect.arrayContaining(['e.weight 0', 's.weight 1', 'b.weight 1']));
  });
});

describe('weights', () => {
  test('one that is used twice ties its uses', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const w = g.weight('w', [8, 3, 1, 1]);
        const [a, b] = [g.op('Conv', [x, w]), g.op('Conv', [g.op('Relu', [x]), w])];
        return [g.conv(a, 8, 2, { name: 'c' }), g.conv(b, 8, 2, { name: 'd' })];
      }),
    );
    expect(sizes(coupling)).toEqual({ w: 8 });
    expect(membersOf(coupling, 'w')).toEqual(expect.arrayContaining(['c.weight 1', 'd.weight 1']));
  });

  test('one that comes through Transpose, Reshape and Cast keeps its relation', () => {
    const coupling = couplingOf(
      netOf(
        (g, x) => {
          const w = g.op('Reshape', [g.op('Cast', [g.weight('w', [2, 6, 8])], { to: 1 }), g.ints('t', 12, 8)]);
          return g.linear(g.op('MatMul', [x, w]), 8, 5, 'head');
        },
        { shape: ['N', 12] },
      ),
    );
    expect(coupling.groups[0].members.map(({ value, axis }) => `${value} ${axis}`)).toEqual(
      expect.arrayContaining(['w 2', 'head.weight 1']),
    );
  });
});

test('a chain of 3,000 nodes is no trouble', () => {
  const coupling = couplingOf(
    netOf((g, x) => {
      let y = x;
      for (let i = 0; i < 1500; i++) y = g.op('Relu', [g.conv(y, i ? 4 : 3, 4, { kernel: 1, bias: false })]);
      return head(g, y, 4);
    }),
  );
  expect(coupling.groups).toHaveLength(1500);
});
