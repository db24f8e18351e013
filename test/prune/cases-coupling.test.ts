import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { floats, ints } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { costOf } from '../../src/prune/cost.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { couplingOf, exactCut, head, initializer, type Net, netOf, outputsOf, reasons, sizes } from './nets.ts';
import { expectSame, inZoo } from './zoo.ts';

// Reports of other tools' users: each of its whole kind.

describe('B01: a map of one channel is in no group with what it is combined with (Torch-Pruning #510)', () => {
  const build = (combine: (g: Net, a: string, m: string) => string) => () =>
    netOf((g, x) => {
      const a = g.conv(x, 3, 8, { name: 'a' });
      const m = g.op('Relu', [g.conv(x, 3, 1, { name: 'm' })]);
      return g.conv(combine(g, a, m), 8, 4, { name: 'b' });
    });
  const twins: Readonly<Record<string, (g: Net, a: string, m: string) => string>> = {
    'Mul(m, a)': (g, a, m) => g.op('Mul', [m, a]),
    'Mul(a, m)': (g, a, m) => g.op('Mul', [a, m]),
    'Add(m, a)': (g, a, m) => g.op('Add', [m, a]),
    'Add(a, m)': (g, a, m) => g.op('Add', [a, m]),
    Where: (g, a, m) => g.op('Where', [g.op('Greater', [m, g.initializer('limit', Float32Array.of(1), [])]), a, m]),
  };
  for (const [name, combine] of Object.entries(twins)) {
    inZoo(name, build(combine), {
      groups: { 'a.weight': 8 },
      walls: { 'm.weight': / '.*' broadcasts it$/, 'b.weight': /^graph output/ },
    });
  }
  test('its only channel lies on no axis of the group', () => {
    const coupling = couplingOf(build(twins['Mul(m, a)'])());
    expect(coupling.channelsOf({ value: 'm.weight', axis: 0 })).toBeNull();
    expect(coupling.groups[0].members.map(({ value }) => value)).not.toContain('m');
  });
});

describe('B05: the weight of a convolution is computed from an input (barracuda #270)', () => {
  const build = () =>
    netOf((g, x) => {
      const plain = g.conv(g.conv(x, 3, 6, { name: 'p' }), 6, 3, { name: 'q' });
      const h = g.conv(plain, 3, 4, { name: 'h' });
      const style = g.linear(g.input('S', [1, 6]), 6, 4, 'style');
      const five = g.op('Reshape', [style, g.ints('five', 1, 1, 4, 1, 1)]);
      const w = g.op('Reshape', [g.op('Mul', [five, g.weight('W', [1, 5, 4, 3, 3])]), g.ints('four', 5, 4, 3, 3)]);
      const modulated = g.op('Conv', [h, w], { pads: [1, 1, 1, 1] }, 'modulated');
      return g.conv(g.op('Relu', [modulated]), 5, 3, { name: 'last' });
    });
  inZoo('what it reads is cut through Mul, Gemm and Reshape; what it makes is a wall that names it', build, {
    groups: { 'p.weight': 6, 'q.weight': 3, 'h.weight': 4 },
    walls: { reshape2: /^Conv 'modulated' has a weight that is computed from input 'S'$/ },
  });
  test('its MACs are counted', () => {
    const coupling = couplingOf(build());
    const macs = costOf(coupling, 'macs');
    expect(macs.unknown).toEqual([]);
    const convolutions = [3 * 6, 6 * 3, 3 * 4, 4 * 5, 5 * 3].reduce((sum, pairs) => sum + pairs * 9 * 64, 0);
    expect(macs.full).toBe(convolutions + 6 * 4);
    // The channels of h are on its input and on its computed weight.
    expect(macs.at([6, 3, 3])).toBe(macs.full - 9 * 64 * (3 + 5) - 6);
  });
});

describe('B06: RMS normalisation of q and k, each read several times (Torch-Pruning #524)', () => {
  const scalar = (g: Net, value: number) => g.initializer(g.unique('value'), Float32Array.of(value), []);
  const rms = (g: Net, x: string, name: string) => {
    const square = g.op('ReduceMean', [g.op('Pow', [x, scalar(g, 2)])], { axes: [-1] }, `${name}.mean`);
    const root = g.op('Sqrt', [g.op('Add', [square, scalar(g, 1e-5)])]);
    return g.op('Mul', [g.op('Div', [x, root]), g.weight(`${name}.weight`, [4])]);
  };
  const attend = (g: Net, q: string, k: string, v: string) => {
    const scores = g.op('MatMul', [
      rms(g, q, 'qnorm'),
      g.op('Transpose', [rms(g, k, 'knorm')], { perm: [0, 1, 3, 2] }),
    ]);
    const weights = g.op('Softmax', [g.op('Mul', [scores, scalar(g, 0.5)])], { axis: -1 });
    const y = g.op('Transpose', [g.op('MatMul', [weights, v])], { perm: [0, 2, 1, 3] });
    return g.op('MatMul', [g.op('Reshape', [y, g.ints('merged', 1, 6, 16)]), g.weight('out', [16, 16])]);
  };
  const shape = [1, 6, 16];
  const fused = () =>
    netOf(
      (g, x) => {
        const qkv = g.op('Add', [g.op('MatMul', [x, g.weight('W', [16, 48])]), g.weight('b', [48])]);
        const all = g.op('Transpose', [g.op('Reshape', [qkv, g.ints('split', 1, 6, 3, 4, 4)])], {
          perm: [2, 0, 3, 1, 4],
        });
        const [q, k, v] = [0n, 1n, 2n].map(i =>
          g.op('Gather', [all, g.initializer(`i${i}`, BigInt64Array.of(i), [])], { axis: 0 }),
        );
        return attend(g, q, k, v);
      },
      { shape },
    );
  const separate = () =>
    netOf(
      (g, x) => {
        const [q, k, v] = ['q', 'k', 'v'].map(name => {
          const y = g.op('Add', [g.op('MatMul', [x, g.weight(`${name}.W`, [16, 16])]), g.weight(`${name}.b`, [16])]);
          const apart = g.op('Reshape', [y, g.ints(`${name}.split`, 1, 6, 4, 4)]);
          return g.op('Transpose', [apart], { perm: [0, 2, 1, 3] });
        });
        return attend(g, q, k, v);
      },
      { shape },
    );
  inZoo('one projection: whole heads', fused, { groups: { W: 4 }, exact: false });
  inZoo('three projections: whole heads', separate, { groups: { 'q.W': 4 }, exact: false });
  // The norms keep the dims of q and k, so that whole heads are all that can go, of v too.
  const dims = { exact: false, options: { attention: 'dims' } } as const;
  inZoo('one projection, dims asked for', fused, { groups: { W: 4 }, ...dims });
  inZoo('three projections, dims asked for', separate, { groups: { 'q.W': 4 }, ...dims });
  test('a single head: the wall names the norm', () => {
    const single = netOf(
      (g, x) => g.op('MatMul', [rms(g, g.op('MatMul', [x, g.weight('W', [16, 4])]), 'qnorm'), g.weight('out', [4, 5])]),
      { shape },
    );
    expect(reasons(couplingOf(single)).W).toMatch(/^ReduceMean 'qnorm.mean' reduces over it$/);
  });
  test('the weights of the norms stay whole, and no part is lost', async () => {
    const coupling = couplingOf(fused());
    const cut = cutModel(coupling, [[0, 3]]);
    expect([initializer(cut, 'W').dims, initializer(cut, 'qnorm.weight').dims]).toEqual([[16, 24], [4]]);
    expect([...ints(initializer(cut, 'split'))]).toEqual([1, 6, 3, 2, 4]);
    expect(coupling.channelsOf({ value: 'W', axis: 1 })).toEqual(
      Int32Array.from({ length: 48 }, (_, i) => Math.floor(i / 4) % 4),
    );
    expectSame('cut', await outputsOf(cut), await outputsOf(zeroConsumers(coupling, [[0, 3]])), false);
  });
});

describe('B07: a Transpose that changes nothing, of a square matrix (onnxruntime #32228, #32417, #32418)', () => {
  for (const batch of [8, 'N']) {
    test(`a batch of ${batch}`, async () => {
      const model = netOf(
        (g, x) => {
          const hidden = g.op('Relu', [g.op('MatMul', [x, g.weight('W', [6, 8])])]);
          const same = g.op('Transpose', [hidden], { perm: [0, 1] });
          return g.op('Add', [g.op('MatMul', [same, g.weight('V', [8, 5])]), g.weight('b', [5])]);
        },
        { shape: [batch, 6] },
      );
      const coupling = couplingOf(model);
      expect(sizes(coupling)).toEqual({ W: 8 });
      expect([...coupling.channelsOf({ value: 'V', axis: 0 })!]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      const cut = await exactCut(model, [[0, 2, 3, 5, 7]]);
      expect([initializer(cut, 'W').dims, initializer(cut, 'V').dims]).toEqual([
        [6, 5],
        [5, 5],
      ]);
    });
  }
});

describe('a channel shuffle permutes the indices of an axis', () => {
  const shuffled = (g: Net, x: string, groups: number, channels: number, side = 8) => {
    const apart = g.op('Reshape', [x, g.ints(g.unique('apart'), 0, groups, channels / groups, side, side)]);
    const turned = g.op('Transpose', [apart], { perm: [0, 2, 1, 3, 4] });
    return g.op('Reshape', [turned, g.ints(g.unique('together'), 0, channels, side, side)]);
  };
  const relu = (g: Net, x: string) => g.op('Relu', [x]);
  /** Units of ShuffleNet v2: one half goes on as it is, the other through a depthwise convolution. */
  const units = (count: number) => () =>
    netOf((g, x) => {
      let y = g.conv(x, 3, 12, { name: 'stem' });
      for (let i = 0; i < count; i++) {
        const [a, b] = g.node('Split', [y, g.ints(`sizes${i}`, 6, 6)], { axis: 1 }, { outputs: [`a${i}`, `b${i}`] });
        const first = relu(g, g.conv(b, 6, 6, { name: `u${i}.1`, kernel: 1 }));
        const deep = g.conv(first, 6, 6, { name: `u${i}.2`, group: 6 });
        const last = relu(g, g.conv(deep, 6, 6, { name: `u${i}.3`, kernel: 1 }));
        y = shuffled(g, g.op('Concat', [a, last], { axis: 1 }), 2, 12);
      }
      return head(g, y, 12);
    });
  inZoo('ShuffleNet: nothing is tied from unit to unit', units(3), {
    groups: {
      'stem.weight': 2,
      'stem.weight#3': 3,
      'stem.weight#4': 6,
      'u0.1.weight': 6,
      'u0.3.weight#2': 2,
      'u0.3.weight#3': 3,
      'u1.1.weight': 6,
      'u1.3.weight': 3,
      'u1.3.weight#2': 3,
      'u2.1.weight': 6,
      'u2.3.weight': 6,
    },
    walls: { 'stem.weight#2': /single channel/, 'u0.3.weight': /single channel/ },
  });
  test('channel i of the output is channel (i mod 2) 4 + i / 2 of the input', () => {
    const coupling = couplingOf(
      netOf((g, x) => g.conv(shuffled(g, g.conv(x, 3, 8, { name: 'a' }), 2, 8), 8, 4, { name: 'b' })),
    );
    expect([...coupling.channelsOf({ value: 'b.weight', axis: 1 })!]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
  });
  test('an uneven cut turns it into a Gather; without one it stays as it is', async () => {
    const model = netOf((g, x) => {
      const a = g.conv(x, 3, 8, { name: 'a' });
      return g.conv(shuffled(g, a, 2, 8), 8, 4, { name: 'b' });
    });
    const cut = await exactCut(model, [[0, 1, 6]]);
    expect(cut.graph.nodes.map(({ opType }) => opType)).toEqual(['Conv', 'Gather', 'Conv']);
    expect([...ints(cut.graph.initializers.find(({ name }) => name.endsWith('_indices'))!)]).toEqual([0, 1, 2]);
    const whole = couplingOf(model);
    expect(cutModel(whole, [[0, 1, 2, 3, 4, 5, 6, 7]])).toBe(model);
  });
  /** Of 8 tokens with 8 channels, the first or the second. */
  const tokens = (axis: 1 | 2) => () =>
    netOf(
      (g, x) => {
        const a = g.op('MatMul', [x, g.weight('w', [6, 8])]);
        const apart = g.op('Reshape', [a, g.ints('apart', ...(axis === 1 ? [0, 2, 4, 8] : [0, 8, 2, 4]))]);
        const turned = g.op('Transpose', [apart], { perm: axis === 1 ? [0, 2, 1, 3] : [0, 1, 3, 2] });
        return g.op('MatMul', [g.op('Reshape', [turned, g.ints('back', 0, 8, 8)]), g.weight('v', [8, 5])]);
      },
      { shape: ['N', 8, 6] },
    );
  inZoo('of tokens, whose channels go', tokens(1), { groups: { w: 8 } });
  inZoo('of the channels of tokens', tokens(2), { groups: { w: 8 } });
  inZoo(
    'a shuffle that a normalisation comes between is none',
    () =>
      netOf((g, x) => {
        const apart = g.op('Reshape', [g.conv(x, 3, 8, { name: 'a' }), g.ints('s', 1, 2, 4, 8, 8)]);
        const turned = relu(g, g.op('Transpose', [apart], { perm: [0, 2, 1, 3, 4] }));
        return g.conv(g.op('Reshape', [turned, g.ints('t', 1, 8, 8, 8)]), 8, 4, { name: 'b' });
      }),
    { groups: { 'a.weight': 4 } },
  );
  inZoo(
    'of three groups after a grouped convolution',
    () =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 12, { name: 'a' });
        const m = relu(g, g.conv(a, 12, 12, { name: 'm', group: 3 }));
        return g.conv(shuffled(g, m, 3, 12), 12, 4, { name: 'b' });
      }),
    { groups: { 'a.weight': 4, 'm.weight': 4 } },
  );
});

describe('pixels to channels and back', () => {
  const relu = (g: Net, x: string) => g.op('Relu', [x]);
  inZoo(
    'pixel shuffle by Reshape, Transpose, Reshape: the channels of the result carry',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 12, { name: 'a' }));
        const apart = g.op('Reshape', [a, g.ints('s', 1, 3, 2, 2, 8, 8)]);
        const turned = g.op('Transpose', [apart], { perm: [0, 1, 4, 2, 5, 3] });
        return g.conv(g.op('Reshape', [turned, g.ints('t', 1, 3, 16, 16)]), 3, 4, { name: 'b' });
      }),
    { groups: { 'a.weight': 3 } },
  );
  inZoo(
    'the same for fewer channels than pixels, which space keeps whole',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 18, { name: 'a' }));
        const apart = g.op('Reshape', [a, g.ints('s', 1, 2, 3, 3, 8, 8)]);
        const turned = g.op('Transpose', [apart], { perm: [0, 1, 4, 2, 5, 3] });
        return g.conv(g.op('Reshape', [turned, g.ints('t', 1, 2, 24, 24)]), 2, 4, { name: 'b' });
      }),
    { groups: { 'a.weight': 2 } },
  );
});

describe('constants in two uses', () => {
  test('a matrix and its transpose: rows and columns go together', async () => {
    const model = netOf(
      (g, x) => {
        const w = g.weight('W', [8, 8]);
        const y = g.op('Relu', [g.op('MatMul', [g.op('MatMul', [x, g.weight('A', [6, 8])]), w])]);
        return g.op('MatMul', [g.op('MatMul', [y, g.op('Transpose', [w], { perm: [1, 0] })]), g.weight('B', [8, 5])]);
      },
      { shape: ['N', 6] },
    );
    expect(sizes(couplingOf(model))).toEqual({ A: 8, W: 8 });
    await exactCut(model, [
      [0, 1, 5],
      [2, 3, 4, 7],
    ]);
  });
  test('rows here and, as they are, columns there: one group', async () => {
    const model = netOf(
      (g, x) => {
        const w = g.weight('W', [8, 8]);
        const once = g.op('Relu', [g.op('MatMul', [g.op('MatMul', [x, g.weight('A', [6, 8])]), w])]);
        return g.op('MatMul', [g.op('MatMul', [once, w]), g.weight('B', [8, 5])]);
      },
      { shape: ['N', 6] },
    );
    expect(sizes(couplingOf(model))).toEqual({ A: 8 });
    await exactCut(model, [[0, 1, 5]]);
  });
  test('a vector that is a bias here and cut into halves there: channels i and i + 4 go together', async () => {
    const model = netOf((g, x) => {
      const v = g.weight('v', [8, 1, 1]);
      const a = g.op('Add', [g.conv(x, 3, 8, { name: 'a' }), v]);
      const halves = g.node('Split', [v, g.ints('sizes', 4, 4)], { axis: 0 }, { outputs: ['low', 'high'] });
      const b = g.op('Add', [g.op('Add', [g.conv(x, 3, 4, { name: 'b' }), halves[0]]), halves[1]]);
      return [g.conv(a, 8, 2, { name: 'c' }), g.conv(b, 4, 2, { name: 'd' })];
    });
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 4 });
    await exactCut(model, [[0, 3]]);
  });
  test('a matrix that a Reshape makes of other rows is a wall, and the rest is free', () => {
    const model = netOf(
      (g, x) => {
        const w = g.weight('W', [6, 8]);
        const y = g.op('MatMul', [g.linear(x, 6, 6, 'first'), w]);
        const other = g.op('Reshape', [w, g.ints('t', 8, 6)]);
        return g.linear(g.op('MatMul', [g.op('Relu', [y]), other]), 6, 5, 'last');
      },
      { shape: ['N', 6] },
    );
    const coupling = couplingOf(model);
    expect(coupling.channelsOf({ value: 'W', axis: 0 })).toBeNull();
    expect(reasons(coupling).W).toMatch(/^Reshape '.*' regroups it with other axes$/);
  });
});

describe('lengths that a cut changes', () => {
  const image = { shape: ['N', 3, 8, 8] as const };
  const at = (g: Net, x: string, axis: number) =>
    g.op('Gather', [g.op('Shape', [x]), g.initializer(g.unique('i'), BigInt64Array.of(BigInt(axis)), [])]);
  const row = (g: Net, x: string) => g.op('Unsqueeze', [x, g.ints(g.unique('u'), 0)]);

  test('a channel count that is read off a shape and goes into a square root stays what it was', async () => {
    const model = netOf((g, x) => {
      const a = g.conv(x, 3, 16, { name: 'a' });
      const width = g.op('Sqrt', [g.op('Cast', [at(g, a, 1)], { to: 1 })]);
      return g.conv(g.op('Mul', [a, width]), 16, 4, { name: 'b' });
    }, image);
    const cut = await exactCut(model, [[0, 3, 4, 9]]);
    const frozen = cut.graph.initializers.filter(({ name }) => /_before/.test(name));
    expect(frozen.map(tensor => [...floats(tensor)])).toEqual([[4]]);
  });

  test.each([
    ['numbers', (g: Net) => g.ints('t', -1, 16 * 64)],
    ['a batch that is copied', (g: Net) => g.ints('t', 0, 16 * 64)],
    [
      'lengths of the input',
      (g: Net, a: string) => g.op('Concat', [row(g, at(g, a, 0)), g.ints('m', -1)], { axis: 0 }),
    ],
    [
      'products of lengths',
      (g: Net, a: string) => {
        const cells = g.op('Mul', [g.op('Mul', [at(g, a, 1), at(g, a, 2)]), at(g, a, 3)]);
        return g.op('Concat', [row(g, at(g, a, 0)), row(g, cells)], { axis: 0 });
      },
    ],
  ])('a Reshape target of %s has at most one -1 after the cut', async (_, target) => {
    const model = netOf((g, x) => {
      const a = g.op('Relu', [g.conv(x, 3, 16, { name: 'a' })]);
      return g.linear(g.op('Reshape', [a, target(g, a)], {}, 'flat'), 16 * 64, 5, 'fc');
    }, image);
    const cut = await exactCut(model, [[0, 3, 4, 9]]);
    const node = cut.graph.nodes.find(({ name }) => name === 'flat')!;
    const graph = buildGraph(cut, operators);
    const written = graph.constants.get(node.input[1])!.values;
    expect(written.filter(length => length === -1).length).toBeLessThan(2);
    expect(graph.types.get('flat')!.shape!.at(-1)).toBe(4 * 64);
  });
});
