import { describe, expect, test } from 'vitest';
import { attributesOf, changeNode, ints, type OnnxModel, shapeOf, tensorOf, withName } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import type { KeptChannels } from '../../src/prune/plan.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { stream } from '../../src/util/random.ts';
import { around, couplingOf, everything, exactCut, initializer, netOf, nodeOf, randomPlan, sizes } from './nets.ts';

const dims = (model: OnnxModel, name: string) => initializer(model, name).dims;

describe('cut files equal the zeroed full ones', () => {
  const sixOf8 = [[0, 1, 2, 4, 6, 7]];
  const forms: [string, OnnxModel, KeptChannels][] = [
    ['a chain', around((g, a) => g.op('Relu', [g.norm(a, 8)])), sixOf8],
    [
      'a one-channel map on the left (B01)',
      around((g, a) => g.op('Mul', [g.conv('X', 3, 1, { name: 'm' }), a])),
      sixOf8,
    ],
    [
      'a one-channel map on the right (B01)',
      around((g, a) => g.op('Add', [a, g.conv('X', 3, 1, { name: 'm' })])),
      sixOf8,
    ],
    ...[2, -1].map((axis): [string, OnnxModel, KeptChannels] => [
      `channels joined along axis ${axis} (B02)`,
      around((g, a) => g.op('Relu', [g.norm(g.op('Concat', [a, g.conv('X', 3, 8)], { axis }), 8)])),
      sixOf8,
    ]),
    [
      'squeeze and excitation',
      around((g, a) => {
        const squeezed = g.op('GlobalAveragePool', [a]);
        return g.op('Mul', [a, g.op('Relu', [g.conv(squeezed, 8, 8, { name: 'e', kernel: 1 })])]);
      }),
      sixOf8,
    ],
    ['weights in Constant nodes', around((g, a) => g.op('Relu', [g.norm(a, 8)]), 8, { weightsInNodes: true }), sixOf8],
    [
      'a depthwise convolution with multiplier 2',
      around((g, a) => g.conv(a, 8, 16, { name: 'd', group: 8 }), 16),
      sixOf8,
    ],
    [
      'a padded shortcut',
      netOf((g, x) => {
        const a = g.conv(x, 3, 4, { name: 'a' });
        const padded = g.op('Pad', [a, g.ints('pads', 0, 2, 0, 0, 0, 2, 0, 0)]);
        return g.conv(g.op('Relu', [g.op('Add', [padded, g.conv(a, 4, 8, { name: 'b' })])]), 8, 5, { name: 'c' });
      }),
      [
        [1, 2],
        [0, 3],
      ],
    ],
    [
      'channels that are picked twice, once and never',
      around((g, a) => g.op('Gather', [a, g.ints('i', 7, -8, 3, 3, 5, 0)], { axis: 1 }), 6),
      [[1], [0, 2, 3], [0]],
    ],
  ];
  test.each(forms)('%s', async (_, model, kept) => {
    await exactCut(model, kept);
  });

  test('grouped convolutions, the same channels of every group', async () => {
    const model = around((g, a) => g.conv(a, 8, 12, { name: 'm', group: 4 }), 12);
    const cut = await exactCut(model, [[1], [0, 2]]);
    expect(dims(cut, 'm.weight')).toEqual([8, 1, 3, 3]);
    expect(attributesOf(nodeOf(cut, 'm')).get('group')).toBe(4);
  });

  test('grouped convolutions, whole groups', async () => {
    const model = around((g, a) => g.conv(a, 8, 12, { name: 'm', group: 4 }), 12);
    const cut = await exactCut(model, [[0, 2, 3]], { grouped: 'whole' });
    expect(dims(cut, 'm.weight')).toEqual([9, 2, 3, 3]);
    expect(attributesOf(nodeOf(cut, 'm')).get('group')).toBe(3);
  });
});

describe('what else follows', () => {
  test('IR version 3: declared shapes of initializers that are inputs too', async () => {
    const model = around((g, a) => g.op('Relu', [a]), 8, { irVersion: 3, opset: 9 });
    const cut = await exactCut(model, [[0, 3, 4]]);
    const shapes = Object.fromEntries(cut.graph.inputs.map(info => [info.name, shapeOf(info)]));
    expect(shapes).toMatchObject({ 'a.weight': [3, 3, 3, 3], 'a.bias': [3], 'b.weight': [4, 3, 3, 3] });
    for (const { name, dims: found } of cut.graph.initializers) expect(shapes[name]).toEqual([...found]);
  });

  test('value_info', () => {
    const model = around((g, a) => g.value(g.op('Relu', [a], {}, 'r'), [1, 8, 8, 8]));
    const cut = cutModel(couplingOf(model), [[2, 3]]);
    expect(cut.graph.valueInfo.map(shapeOf)).toEqual([[1, 2, 8, 8]]);
  });

  test('a bias that a Constant node has as value_floats', async () => {
    const model = netOf(
      (g, x) => {
        const b = g.op('Constant', [], { value_floats: [1, -1, 0.5, 2, 3, -2] }, 'c');
        return g.linear(g.op('Relu', [g.op('Add', [g.op('MatMul', [x, g.weight('w', [5, 6])]), b])]), 6, 4, 'head');
      },
      { shape: ['N', 5] },
    );
    const cut = await exactCut(model, [[1, 2, 5]]);
    expect(attributesOf(nodeOf(cut, 'c')).get('value_floats')).toEqual([-1, 0.5, -2]);
  });

  test('a weight that ConstantOfShape fills', async () => {
    const model = netOf((g, x) => {
      const w = g.op(
        'ConstantOfShape',
        [g.ints('shape', 6, 3, 1, 1)],
        { value: tensorOf('', Float32Array.of(1), [1]) },
        'w',
      );
      return g.conv(g.op('Conv', [x, w]), 6, 4, { name: 'b' });
    });
    const cut = await exactCut(model, [[1, 2]]);
    expect(ints(initializer(cut, 'shape'))).toEqual([2, 3, 1, 1]);
  });

  test('nothing that a cut does not touch is copied', () => {
    const model = netOf((g, x) => {
      const first = g.conv(g.op('Relu', [g.conv(x, 3, 5, { name: 'a' })]), 5, 6, { name: 'b' });
      return g.conv(first, 6, 2, { name: 'c' });
    });
    const coupling = couplingOf(model);
    const cut = cutModel(coupling, [
      [0, 1, 2, 3, 4],
      [0, 4],
    ]);
    expect(initializer(cut, 'a.weight')).toBe(initializer(model, 'a.weight'));
    expect(initializer(cut, 'c.bias')).toBe(initializer(model, 'c.bias'));
    expect(cut.graph.nodes[0]).toBe(model.graph.nodes[0]);
  });

  test('new constants take no name that is there', async () => {
    const model = around((g, a) => {
      const target = g.ints('t', 0, 8, 64);
      g.weight('t_cut', [1]);
      const parts = [0, 1].map(() => g.op('Reshape', [a, target]));
      return g.op('Reshape', [g.op('Add', parts), g.ints('u', 1, 8, 8, 8)]);
    });
    const cut = await exactCut(model, [[1, 2, 5]]);
    expect(new Set(cut.graph.initializers.map(({ name }) => name)).size).toBe(cut.graph.initializers.length);
    expect(initializer(cut, 't_cut').dims).toEqual([1]);
  });
});

describe('plans', () => {
  test('everything kept is the same model', () => {
    const model = around((g, a) => g.op('Relu', [a]));
    const coupling = couplingOf(model);
    expect(cutModel(coupling, everything(coupling))).toBe(model);
  });

  test('two cuts one after the other are one cut by the composed plan', () => {
    const model = netOf((g, x) => {
      const a = g.op('Relu', [g.norm(g.conv(x, 3, 8, { name: 'a' }), 8)]);
      const parts = g.op('Concat', [a, g.conv(a, 8, 6, { name: 'b' })], { axis: 1 });
      return g.linear(g.op('Reshape', [parts, g.ints('t', 1, 896)]), 896, 5, 'head');
    });
    const random = stream(4, 'twice');
    for (let i = 0; i < 10; i++) {
      const coupling = couplingOf(model);
      const first = coupling.groups.map(({ size }) => [...random.permutation(size)].slice(0, 4).sort((a, b) => a - b));
      const once = couplingOf(cutModel(coupling, first));
      const second = randomPlan(once, random);
      const composed = second.map((channels, g) => channels.map(c => first[g][c]));
      const [twice, direct] = [cutModel(once, second), cutModel(coupling, composed)];
      expect(twice.graph.initializers.map(t => [t.name, t.dims, t.data])).toEqual(
        direct.graph.initializers.map(t => [t.name, t.dims, t.data]),
      );
      expect(twice.graph.nodes).toEqual(direct.graph.nodes);
    }
  });

  test('other names change nothing but names', () => {
    const model = around((g, a) => g.op('Slice', [a, g.ints('s', 1), g.ints('e', 7), g.ints('x', 1)]), 6);
    const rename = (name: string) => (name ? `net/${name}:0` : name);
    const renamed: OnnxModel = {
      ...model,
      graph: {
        ...model.graph,
        nodes: model.graph.nodes.map(n =>
          changeNode(n, { input: n.input.map(rename), output: n.output.map(rename), name: rename(n.name) }),
        ),
        initializers: model.graph.initializers.map(tensor => withName(tensor, rename(tensor.name))),
        inputs: model.graph.inputs.map(info => ({ ...info, name: rename(info.name) })),
        outputs: model.graph.outputs.map(info => ({ ...info, name: rename(info.name) })),
      },
    };
    const [before, after] = [couplingOf(model), couplingOf(renamed)];
    expect(after.groups.map(({ name }) => name)).toEqual(
      before.groups.map(({ root: { value }, name }) => `${rename(value)}${name.slice(value.length)}`),
    );
    const plan = randomPlan(before, stream(2, 'plan'));
    const [a, b] = [cutModel(before, plan), cutModel(after, plan)];
    expect(b.graph.initializers.map(({ data }) => data)).toEqual(a.graph.initializers.map(({ data }) => data));
  });

  test('a node that cannot follow is named', () => {
    // One Gather can stand in front of a node, not two.
    const model = netOf((g, x) => {
      const a = g.op('Transpose', [g.conv(x, 3, 8, { name: 'a' })], { perm: [0, 1, 2, 3] });
      const maps = g.op('MatMul', [g.op('Reshape', [a, g.ints('t', 1, 8, 64)]), g.weight('w', [64, 8])]);
      const numbers = ['s', 'e', 'x', 't2'].map((name, i) =>
        g.ints(
          name,
          ...[
            [0, 0],
            [8, 8],
            [1, 2],
            [2, 2],
          ][i],
        ),
      );
      const every = g.op('Slice', [maps, ...numbers], {}, 'both');
      return g.op('ReduceSum', [every, g.ints('all', 1, 2)], { keepdims: 0 });
    });
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({ 'a.weight': 4, 'a.weight#2': 4, w: 4, 'w#2': 4 });
    const [read, unread] = [
      [0, 1, 3],
      [0, 3],
    ];
    expect(() => cutModel(coupling, [read, unread, read, unread])).toThrow(
      expect.objectContaining({ code: 'E_CUT', what: expect.stringMatching(/^Slice 'both' cannot follow this cut/) }),
    );
  });
});

test('shared shape vectors are copied before each user gets its own', async () => {
  const model = netOf((g, x) => {
    const target = g.ints('S', 1, 8, 64);
    const rows = (name: string) => g.op('Reshape', [g.conv(x, 3, 8, { name }), target]);
    const back = (value: string, name: string) =>
      g.conv(g.op('Reshape', [value, g.ints(`${name}.shape`, 1, 8, 8, 8)]), 8, 4, { name });
    return [back(rows('a'), 'c'), back(rows('b'), 'd')];
  });
  for (const form of [model, unshare(model, operators)]) {
    const cut = await exactCut(form, [
      [0, 1, 2, 3, 4],
      [0, 1, 2, 3, 4, 5, 7],
    ]);
    const targets = cut.graph.initializers.filter(({ name }) => name.startsWith('S')).map(ints);
    expect(targets.sort()).toEqual([
      [1, 5, 64],
      [1, 7, 64],
    ]);
  }
});
