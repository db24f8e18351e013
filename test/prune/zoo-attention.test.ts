import { describe, expect, test } from 'vitest';
import { cutModel } from '../../src/prune/cut.ts';
import { wallsOf } from '../../src/prune/walls.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { stream } from '../../src/util/random.ts';
import {
  attention,
  batched,
  C,
  constant,
  D,
  fixed,
  H,
  length,
  lengths,
  linear,
  merge,
  pick,
  reshape,
  slice,
  split,
  T,
  tokensFirst,
  transpose,
  windows,
} from './attention-nets.ts';
import { couplingOf, type Net, netOf, outputsOf, randomPlan, sizes } from './nets.ts';
import { expectSame, inZoo } from './zoo.ts';

const loose = { exact: false } as const;

describe('separate projections', () => {
  const build = (options: typeof batched | typeof fixed) => () =>
    netOf((g, x) => {
      const batch = options === batched ? 0 : 2;
      const [q, k, v] = ['q', 'k', 'v'].map(name => split(g, linear(g, x, C, C, name), H, batch));
      return linear(g, merge(g, attention(g, q, k, v), batch), C, 7, 'out');
    }, options);
  inZoo('whole heads', build(batched), { groups: { 'q.weight': H }, ...loose });
  inZoo('whole heads, a batch of two that the file fixes', build(fixed), { groups: { 'q.weight': H }, ...loose });
  const dims = { groups: { 'q.weight': D, 'v.weight': D }, options: { attention: 'dims' }, ...loose } as const;
  inZoo('the same dims of every head: one set for q and k, one for v', build(batched), dims);
  inZoo('the same with a fixed batch', build(fixed), dims);

  test('a head is its dims of q, k and v, and its columns of the output projection', () => {
    const coupling = couplingOf(build(batched)());
    const [{ members }] = coupling.groups;
    const constants = members.filter(({ value }) => coupling.graph.tensors.has(value));
    expect(
      Object.fromEntries(constants.map(({ value, axis, multiplicity }) => [`${value} ${axis}`, multiplicity])),
    ).toEqual(
      Object.fromEntries(
        ['q.weight 1', 'k.weight 1', 'v.weight 1', 'q.bias 0', 'k.bias 0', 'v.bias 0', 'out.weight 0'].map(m => [m, D]),
      ),
    );
  });
});

inZoo(
  'cross attention: the keys come from another input',
  () =>
    netOf((g, x) => {
      const memory = g.input('M', ['N', T, 8]);
      const q = split(g, linear(g, x, C, C, 'q'));
      const [k, v] = ['k', 'v'].map(name => split(g, linear(g, memory, 8, C, name)));
      return linear(g, merge(g, attention(g, q, k, v)), C, 7, 'out');
    }, batched),
  { groups: { 'q.weight': H }, ...loose },
);

describe('one projection for q, k and v', () => {
  const parts: Readonly<Record<string, (g: Net, x: string) => string[]>> = {
    Split: (g, x) =>
      g
        .node('Split', [x, g.ints('sizes', C, C, C)], { axis: 2 }, { outputs: ['q', 'k', 'v'] })
        .map(part => split(g, part)),
    Slice: (g, x) => [0, 1, 2].map(i => split(g, slice(g, x, 2, i * C, (i + 1) * C))),
    'one tensor, Gather': (g, x) => {
      const all = transpose(g, reshape(g, x, 0, T, 3, H, D), 2, 0, 3, 1, 4);
      return [0, 1, 2].map(i => pick(g, all, i));
    },
    'one tensor, Split and Squeeze': (g, x) => {
      const all = transpose(g, reshape(g, x, 0, T, 3, H, D), 2, 0, 3, 1, 4);
      const each = g.node('Split', [all, g.ints('sizes', 1, 1, 1)], { axis: 0 }, { outputs: ['q', 'k', 'v'] });
      return each.map(part => g.op('Squeeze', [part, g.ints(g.unique('s'), 0)]));
    },
  };
  for (const [name, apart] of Object.entries(parts)) {
    const build = () =>
      netOf((g, x) => {
        const [q, k, v] = apart(g, linear(g, x, C, 3 * C, 'qkv'));
        return linear(g, merge(g, attention(g, q, k, v)), C, 7, 'out');
      }, batched);
    inZoo(`${name}: whole heads`, build, { groups: { 'qkv.weight': H }, ...loose });
    // What stays in one tensor has one set of dims.
    const groups: Record<string, number> = { 'qkv.weight': D };
    if (!name.startsWith('one tensor')) groups['qkv.weight#2'] = D;
    inZoo(`${name}: dims`, build, { groups, options: { attention: 'dims' }, ...loose });
  }
});

describe('heads merged into the batch', () => {
  inZoo('tokens first, as PyTorch exports it: whole heads', tokensFirst, { groups: { 'qkv.weight': H }, ...loose });
  inZoo('tokens first: dims', tokensFirst, {
    groups: { 'qkv.weight': D, 'qkv.weight#2': D },
    options: { attention: 'dims' },
    ...loose,
  });

  /** Split off and merged by lengths that are both open. */
  const open = () =>
    netOf(
      (g, x) => {
        const [batch, tokens] = [0, 1].map(axis => length(g, x, axis));
        const heads = g.initializer('heads', BigInt64Array.of(BigInt(H)), []);
        const rows = g.op('Mul', [batch, heads]);
        const [q, k, v] = ['q', 'k', 'v'].map(name => {
          const own = g.op('Reshape', [linear(g, x, C, C, name), lengths(g, batch, -1, H, D)]);
          return g.op('Reshape', [transpose(g, own, 0, 2, 1, 3), lengths(g, rows, -1, D)]);
        });
        const scores = g.op('Mul', [g.op('MatMul', [q, transpose(g, k, 0, 2, 1)]), constant(g, 0.1)]);
        const y = g.op('MatMul', [g.op('Softmax', [scores], { axis: -1 }), v]);
        const apart = g.op('Reshape', [y, lengths(g, batch, H, tokens, D)]);
        const merged = g.op('Reshape', [transpose(g, apart, 0, 2, 1, 3), lengths(g, batch, tokens, C)]);
        return linear(g, merged, C, 7, 'out');
      },
      { shape: ['N', 'tokens', C] },
    );
  test.each([
    ['heads', { 'q.weight': H }],
    ['dims', { 'q.weight': D, 'v.weight': D }],
  ] as const)('batch and tokens of any length: %s', async (attention, groups) => {
    const coupling = couplingOf(open(), { attention });
    expect(sizes(coupling)).toEqual(groups);
    for (let seed = 0; seed < 4; seed++) {
      const kept = randomPlan(coupling, stream(seed, 'plan'));
      const cut = cutModel(coupling, kept);
      expectSame(`seed ${seed}`, await outputsOf(cut), await outputsOf(zeroConsumers(coupling, kept)), false);
    }
  });
});

describe('grouped queries: a head of k and v for two of q', () => {
  const KV = 2;
  const repeats: Readonly<Record<string, (g: Net, x: string) => string>> = {
    'Unsqueeze, Expand, Reshape': (g, x) => {
      const five = g.op('Unsqueeze', [x, g.ints(g.unique('u'), 2)]);
      const many = g.op('Expand', [five, g.ints(g.unique('e'), 1, KV, H / KV, T, D)]);
      return reshape(g, many, 0, H, T, D);
    },
    'Tile, Reshape': (g, x) => {
      const five = g.op('Unsqueeze', [x, g.ints(g.unique('u'), 2)]);
      return reshape(g, g.op('Tile', [five, g.ints(g.unique('r'), 1, 1, H / KV, 1, 1)]), 0, H, T, D);
    },
    Gather: (g, x) => g.op('Gather', [x, g.ints(g.unique('i'), 0, 0, 1, 1)], { axis: 1 }),
  };
  for (const [name, repeat] of Object.entries(repeats)) {
    const build = () =>
      netOf((g, x) => {
        const q = split(g, linear(g, x, C, C, 'q'));
        const [k, v] = ['k', 'v'].map(part => repeat(g, split(g, linear(g, x, C, KV * D, part), KV)));
        return linear(g, merge(g, attention(g, q, k, v)), C, 7, 'out');
      }, batched);
    inZoo(`${name}: a head of k and v goes with both of q`, build, { groups: { 'q.weight': KV }, ...loose });
    inZoo(`${name}: dims`, build, {
      groups: { 'q.weight': D, 'v.weight': D },
      options: { attention: 'dims' },
      ...loose,
    });
  }
  inZoo(
    'queries of five axes, keys and values stretched by the product',
    () =>
      netOf((g, x) => {
        const five = (y: string, heads: number) => transpose(g, reshape(g, y, 0, T, KV, heads, D), 0, 2, 3, 1, 4);
        const q = five(linear(g, x, C, C, 'q'), H / KV);
        const [k, v] = ['k', 'v'].map(part => five(linear(g, x, C, KV * D, part), 1));
        const scores = g.op('Mul', [g.op('MatMul', [q, transpose(g, k, 0, 1, 2, 4, 3)]), constant(g, 0.1)]);
        const y = g.op('MatMul', [g.op('Softmax', [scores], { axis: -1 }), v]);
        return linear(g, reshape(g, transpose(g, y, 0, 3, 1, 2, 4), 0, T, C), C, 7, 'out');
      }, batched),
    { groups: { 'q.weight': KV }, ...loose },
  );
});

describe('what is done to scores and heads', () => {
  /** Separate projections, with something in between. */
  const through = (
    change: (g: Net, parts: { q: string; k: string; v: string }) => { q: string; k: string; v: string; bias?: string },
  ) =>
    netOf((g, x) => {
      const [q, k, v] = ['q', 'k', 'v'].map(name => split(g, linear(g, x, C, C, name)));
      const changed = change(g, { q, k, v });
      return linear(g, merge(g, attention(g, changed.q, changed.k, changed.v, changed.bias)), C, 7, 'out');
    }, batched);

  inZoo(
    'a table of relative positions has a column for every head',
    () =>
      through((g, parts) => {
        const table = g.weight('table', [2 * T - 1, H]);
        const index = g.ints(
          'positions',
          ...Array.from({ length: T * T }, (_, i) => T - 1 + Math.floor(i / T) - (i % T)),
        );
        const bias = transpose(g, reshape(g, g.op('Gather', [table, index]), T, T, H), 2, 0, 1);
        return { ...parts, bias: g.op('Unsqueeze', [bias, g.ints('first', 0)]) };
      }),
    { groups: { 'q.weight': H }, ...loose },
  );
  inZoo(
    'a bias that a small network makes of positions, as in Swin v2',
    () =>
      through((g, parts) => {
        const grid = g.weight('grid', [T * T, 2]);
        const hidden = g.op('Relu', [linear(g, grid, 2, 6, 'cpb1')]);
        const bias = g.op('Sigmoid', [g.op('MatMul', [hidden, g.weight('cpb2.weight', [6, H])])]);
        return { ...parts, bias: transpose(g, reshape(g, bias, T, T, H), 2, 0, 1) };
      }),
    { groups: { 'q.weight': H, 'cpb1.weight': 6 }, ...loose },
  );
  inZoo(
    'q and k of unit length, scaled by head (cosine attention)',
    () =>
      through((g, { q, k, v }) => {
        const unit = (y: string) => {
          const norm = g.op('ReduceL2', [y, ...[]], { axes: [-1] });
          return g.op('Div', [y, g.op('Clip', [norm, constant(g, 1e-6), constant(g, 1e6)])]);
        };
        return { q: g.op('Mul', [unit(q), g.weight('scale', [H, 1, 1])]), k: unit(k), v };
      }),
    { groups: { 'q.weight': H }, ...loose },
  );
  const turned = () =>
    through((g, { q, k, v }) => {
      // An odd dim is left as it is.
      const [cos, sin] = ['cos', 'sin'].map(name => g.weight(name, [T, 2]));
      const rotate = (y: string) => {
        const [a, b, rest] = [0, 1, 2].map(i => slice(g, y, 3, i, i + 1));
        const pair = g.op('Concat', [a, b], { axis: 3 });
        const other = g.op('Concat', [g.op('Neg', [b]), a], { axis: 3 });
        const sum = g.op('Add', [g.op('Mul', [pair, cos]), g.op('Mul', [other, sin])]);
        return g.op('Concat', [sum, rest], { axis: 3 });
      };
      return { q: rotate(q), k: rotate(k), v };
    });
  inZoo('rotary positions: whole heads', turned, { groups: { 'q.weight': H }, ...loose });
  inZoo('rotary positions: a pair of dims turns together', turned, {
    groups: { 'v.weight': D },
    // A pair and the dim that is left are a channel each.
    walls: { 'q.weight': /single channel/, 'q.weight#2': /single channel/ },
    options: { attention: 'dims' },
    ...loose,
  });
  inZoo(
    'a scale of 1/sqrt of a length that dims change stays what it was',
    () =>
      through((g, { q, k, v }) => {
        const dims = g.op('Cast', [length(g, q, 3)], { to: 1 });
        return { q: g.op('Div', [q, g.op('Sqrt', [dims])]), k, v };
      }),
    { groups: { 'q.weight': D, 'v.weight': D }, options: { attention: 'dims' }, ...loose },
  );
  inZoo(
    'a sigmoid over scores by head, as in gated attention',
    () => through((g, { q, k, v }) => ({ q, k, v: g.op('Mul', [v, g.op('Sigmoid', [v])]) })),
    {
      groups: { 'q.weight': H },
      ...loose,
    },
  );
  inZoo(
    'heads mixed by a linear layer after the softmax are two sets',
    () =>
      netOf((g, x) => {
        const [q, k] = ['q', 'k'].map(name => split(g, linear(g, x, C, C, name)));
        const v = split(g, linear(g, x, C, C, 'v'));
        const scores = g.op('Softmax', [g.op('MatMul', [q, transpose(g, k, 0, 1, 3, 2)])], { axis: -1 });
        const mixed = g.op('MatMul', [transpose(g, scores, 0, 2, 3, 1), g.weight('mix', [H, H])]);
        const y = g.op('MatMul', [transpose(g, mixed, 0, 3, 1, 2), v]);
        return linear(g, merge(g, y), C, 7, 'out');
      }, batched),
    { groups: { 'q.weight': H, 'v.weight': H }, ...loose },
  );
});

describe('Einsum', () => {
  const build = () =>
    netOf((g, x) => {
      const [q, k, v] = ['q', 'k', 'v'].map(name => split(g, linear(g, x, C, C, name)));
      const scores = g.op('Einsum', [q, k], { equation: 'b h i d, b h j d -> b h i j' });
      const weights = g.op('Softmax', [g.op('Mul', [scores, constant(g, 0.1)])], { axis: -1 });
      const y = g.op('Einsum', [weights, v], { equation: 'bhij,bhjd->bihd' });
      return linear(g, reshape(g, y, 0, T, C), C, 7, 'out');
    }, batched);
  inZoo('whole heads', build, { groups: { 'q.weight': H }, ...loose });
  inZoo('dims', build, { groups: { 'q.weight': D, 'v.weight': D }, options: { attention: 'dims' }, ...loose });
});

describe('windows', () => {
  // The windows go back through a Reshape that keeps the 6 channels apart from space.
  const groups = { 'qkv.weight': H, 'out.weight': 6, 'up.weight': 9 };
  inZoo('an open batch', windows('N', false), { groups, ...loose });
  inZoo('an open batch, shifted', windows('N', true), { groups, ...loose });
  inZoo('a fixed batch, shifted', windows(2, true), { groups, ...loose });
});

describe('the width of a stream', () => {
  const block = (norm: (g: Net, x: string) => string) => () =>
    netOf(
      (g, tokens) => {
        const x = g.op('MatMul', [tokens, g.weight('embed', [6, C])]);
        const hidden = g.op('Relu', [linear(g, norm(g, x), C, 20, 'up')]);
        const stream = g.op('Add', [x, linear(g, hidden, 20, C, 'down')]);
        return linear(g, norm(g, stream), C, 7, 'head');
      },
      { shape: ['N', T, 6] },
    );
  const mean = (g: Net, x: string) => g.op('ReduceMean', [x], { axes: [-1] });
  const decomposed = (g: Net, x: string) => {
    const centred = g.op('Sub', [x, mean(g, x)]);
    const variance = mean(g, g.op('Pow', [centred, constant(g, 2)]));
    const scaled = g.op('Div', [centred, g.op('Sqrt', [g.op('Add', [variance, constant(g, 1e-5)])])]);
    return g.op('Add', [g.op('Mul', [scaled, g.weight(g.unique('gamma'), [C])]), g.weight(g.unique('beta'), [C])]);
  };
  const whole = (g: Net, x: string) =>
    g.op('LayerNormalization', [x, g.weight(g.unique('gamma'), [C]), g.weight(g.unique('beta'), [C])], { axis: -1 });
  for (const [name, norm] of Object.entries({ ReduceMean: decomposed, LayerNormalization: whole })) {
    inZoo(`keeps its length for ${name}, the inner layer does not`, block(norm), {
      groups: { 'up.weight': 20 },
      walls: { embed: new RegExp(`^${name} '`) },
      ...loose,
    });
  }
  test('the wall names the norm and what would unlock it', () => {
    const [norm, output] = wallsOf(couplingOf(block(whole)()));
    expect(norm).toMatchObject({
      node: { opType: 'LayerNormalization' },
      unlock: expect.stringMatching(/^What goes would change the statistics of what stays/),
      groups: [{ name: 'embed', size: C }],
    });
    expect(output.reason).toMatch(/^graph output/);
  });
});
