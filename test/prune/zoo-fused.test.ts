import { describe, expect, test } from 'vitest';
import { cutsAgree } from './cuts-agree.ts';
import { couplingOf, netOf, reasons, sizes } from './nets.ts';
import { inZoo } from './zoo.ts';

const microsoft = { domains: { 'com.microsoft': 1 } };

describe('fused operators', () => {
  cutsAgree(
    'FusedConv with an addend, and FusedMatMul',
    () =>
      netOf((g, x) => {
        const own = { domain: 'com.microsoft' };
        const [a, z] = ['a', 'z'].map(name => g.conv(x, 3, 8, { name }));
        const inputs = [a, g.weight('m.weight', [8, 8, 3, 3]), g.weight('m.bias', [8]), z];
        const attributes = { pads: [1, 1, 1, 1], kernel_shape: [3, 3], activation: 'Relu' };
        const m = g.node('FusedConv', inputs, attributes, { name: 'm', output: 'm', ...own });
        const rows = g.op('Reshape', [m, g.ints('t', 8, 64)]);
        return g.node('FusedMatMul', [rows, g.weight('v', [5, 8])], { transA: 1, transB: 1 }, { output: 'y', ...own });
      }, microsoft),
    { 'a.weight': 8, 'z.weight': 8 },
  );
});

describe('attention in one node', () => {
  const attention =
    (heads: number, shared: number, causal = 0) =>
    () =>
      netOf(
        (g, x) => {
          const [q, k, v] = [
            ['wq', heads * 4],
            ['wk', (heads / shared) * 4],
            ['wv', (heads / shared) * 3],
          ].map(([name, width]) => g.op('MatMul', [x, g.weight(name as string, [6, width as number])]));
          const attributes = { q_num_heads: heads, kv_num_heads: heads / shared, is_causal: causal };
          const y = g.op('Attention', [q, k, v], attributes, 'attention');
          return g.op('MatMul', [y, g.weight('wo', [heads * 3, 5])]);
        },
        { shape: [2, 4, 6], opset: 23 },
      );
  inZoo('whole heads', attention(4, 1), { groups: { wq: 4 }, exact: false });
  inZoo('queries that share keys and values', attention(6, 2, 1), { groups: { wq: 3 }, exact: false });
  inZoo(
    'rotary positions turn every head alike',
    () =>
      netOf(
        (g, x) => {
          const [q, k, v] = ['wq', 'wk', 'wv'].map(name => g.op('MatMul', [x, g.weight(name, [6, 16])]));
          const [cos, sin] = ['cos', 'sin'].map(name => g.weight(name, [2, 4, 2]));
          const turned = [q, k].map(y => g.op('RotaryEmbedding', [y, cos, sin], { num_heads: 4 }));
          const y = g.op('Attention', [...turned, v], { q_num_heads: 4, kv_num_heads: 4 });
          return g.op('MatMul', [y, g.weight('wo', [16, 5])]);
        },
        { shape: [2, 4, 6], opset: 23 },
      ),
    { groups: { wq: 4 }, exact: false },
  );
  cutsAgree(
    'MultiHeadAttention with a bias for all three',
    () =>
      netOf(
        (g, x) => {
          const [q, k, v] = [16, 16, 12].map((width, i) => g.op('MatMul', [x, g.weight(`w${i}`, [6, width])]));
          const inputs = [q, k, v, g.weight('bias', [44])];
          const own = { name: 'att', output: 'att', domain: 'com.microsoft' };
          const y = g.node('MultiHeadAttention', inputs, { num_heads: 4 }, own);
          return g.op('MatMul', [y, g.weight('wo', [12, 5])]);
        },
        { shape: [2, 4, 6], ...microsoft },
      ),
    { w0: 4 },
    { exact: false },
  );
  for (const [name, sizes, attributes] of [
    ['Attention with its projections', [12, 12, 12], {}],
    ['Attention with other widths for values', [12, 12, 9], { qkv_hidden_sizes: [12, 12, 9] }],
  ] as const) {
    cutsAgree(
      name,
      () =>
        netOf(
          (g, x) => {
            const width = sizes.reduce((a, b) => a + b, 0);
            const hidden = g.op('MatMul', [x, g.weight('z', [6, 8])]);
            const inputs = [hidden, g.weight('w', [8, width]), g.weight('bias', [width])];
            const own = { name: 'att', output: 'att', domain: 'com.microsoft' };
            const y = g.node('Attention', inputs, { num_heads: 3, ...attributes }, own);
            return g.op('MatMul', [y, g.weight('wo', [sizes[2], 5])]);
          },
          { shape: [2, 4, 6], ...microsoft },
        ),
      { z: 8, w: 3 },
      { exact: false },
    );
  }
  test('one with a cache keeps its heads', () => {
    const model = netOf(
      (g, x) => {
        const [q, k, v] = ['wq', 'wk', 'wv'].map(name => g.op('MatMul', [x, g.weight(name, [6, 16])]));
        const past = ['pk', 'pv'].map(name => g.input(name, [2, 4, 3, 4]));
        const attributes = { q_num_heads: 4, kv_num_heads: 4 };
        const inputs = [q, k, v, '', ...past];
        const [y] = g.node('Attention', inputs, attributes, { name: 'att', outputs: ['y', 'nk', 'nv'] });
        return g.op('MatMul', [y, g.weight('wo', [16, 5])]);
      },
      { shape: [2, 4, 6], opset: 23 },
    );
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({});
    expect(reasons(coupling)).toMatchObject({ wq: expect.stringMatching(/^Attention 'att'/) });
  });
});

describe('deformable convolutions', () => {
  const deformed = (groups: number) =>
    netOf(
      (g, x) => {
        const a = g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })]);
        const shifts = g.conv(g.op('Relu', [g.conv(x, 3, 5, { name: 's' })]), 5, groups * 18, { name: 'shifts' });
        const inputs = [a, g.weight('w', [6, 8, 3, 3]), shifts, g.weight('bias', [6])];
        const d = g.op('DeformConv', inputs, { pads: [1, 1, 1, 1], offset_group: groups }, 'deform');
        return g.conv(d, 6, 4, { name: 'c' });
      },
      { opset: 19 },
    );
  inZoo('the shifts stay, channels go', () => deformed(1), {
    groups: { 'a.weight': 8, 's.weight': 5, w: 6 },
    walls: { 'shifts.weight': /^DeformConv 'deform' shifts by it$/ },
    exact: false,
  });
  inZoo('parts with shifts of their own stay', () => deformed(2), {
    groups: { 's.weight': 5, w: 6 },
    walls: {
      'a.weight': /^DeformConv 'deform' shifts parts of it apart$/,
      'shifts.weight': /^DeformConv 'deform' shifts by it$/,
    },
    exact: false,
  });
});
