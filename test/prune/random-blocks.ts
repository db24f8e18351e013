import { both, type Growth, grown, type Steps } from './random-growth.ts';

/** Small pieces of known architectures, with weights of small integers. */
export const blocks: Steps = {
  residual({ g, first, p, q }) {
    const { channels, space, last, name } = first;
    if (last || space.length !== 2) return null;
    const inner = 3 + (q % 5);
    const one = g.op('Relu', [g.conv(name, channels, inner, { kernel: p % 2 ? 3 : 1 })]);
    const two = g.conv(one, inner, channels, { kernel: 1, bias: q % 2 === 0 });
    return grown(first, g.op('Add', p % 3 ? [name, two] : [two, name]), { by: 9 * channels * inner + 1 });
  },

  /** Squeeze and excitation with a gate of linear pieces. */
  excited(growth) {
    const { g, first, p } = growth;
    const { channels, space, last, name } = first;
    if (last || space.length !== 2) return null;
    const squeezed = g.op('GlobalMaxPool', [name]);
    const inner = 2 + (p % 3);
    const one = g.op('Relu', [g.conv(squeezed, channels, inner, { kernel: 1 })]);
    const gate = growth.clip(g.conv(one, inner, channels, { kernel: 1 }), 0, 1);
    return grown(first, g.op('Mul', p % 2 ? [name, gate] : [gate, name]));
  },

  /** What the sum over the channels says, added to each of them. */
  gated(growth) {
    const { g, first } = growth;
    const total = growth.reduce('ReduceSum', first.name, [first.last ? first.space.length + 1 : 1], 1);
    const name = g.op('Add', [first.name, g.op('Relu', [g.op('Neg', [total])])]);
    return grown(first, name, { by: 1 + first.channels });
  },

  /** Tokens that look at each other: heads of equal width, scores by Relu, so that everything stays an integer. */
  attention(growth) {
    const { first, p } = growth;
    if (!first.last || first.space.length !== 1 || first.bound > 40) return null;
    const [from, tokens] = [first.channels, first.space[0]];
    const [heads, width] = [1 + (p % 3), 2 + (p % 2)];
    const fused = p % 5 === 0;
    const [q, k, v] = fused ? fusedHeads(growth, from, heads, width) : heads3(growth, from, heads, width, tokens);
    const scores = growth.op('Relu', [growth.op('MatMul', [q, k])]);
    const mixed = growth.transpose(growth.op('MatMul', [scores, v]), 0, 2, 1, 3);
    const rows = growth.reshape(mixed, 0, p % 2 ? tokens : -1, heads * width);
    const name = growth.linear(rows, heads * width, from);
    const projected = from * first.bound + 1;
    return {
      ...first,
      name: growth.op('Add', [first.name, name]),
      bound: projected ** 3 * width * tokens * heads * width,
    };
  },

  /** A grouped convolution, a shuffle, and a depthwise one. */
  shuffleUnit(growth) {
    const { g, first, p } = growth;
    const { channels, space, last, name } = first;
    const group = [2, 3].find(count => channels % count === 0 && channels > count);
    if (last || space.length !== 2 || !group) return null;
    const mixed = g.op('Relu', [g.conv(name, channels, channels, { kernel: 1, group, bias: p % 2 === 0 })]);
    const apart = growth.reshape(mixed, 0, group, channels / group, ...space);
    const swapped = growth.reshape(growth.transpose(apart, 0, 2, 1, 3, 4), 0, channels, ...space);
    const deep = g.conv(swapped, channels, channels, { group: channels, bias: p % 3 === 0 });
    return grown(first, deep, { by: 9 * channels });
  },

  /** Two branches of different depth side by side. */
  inception(growth) {
    const { g, first, p, q } = growth;
    const { channels, space, last, name } = first;
    if (last || space.length !== 2) return null;
    const [one, two] = [2 + (p % 4), 2 + (q % 4)];
    const deep = g.conv(g.op('Relu', [g.conv(name, channels, 3, { kernel: 1 })]), 3, two);
    const joined = g.op('Concat', [g.conv(name, channels, one, { kernel: 1 }), deep], { axis: 1 });
    return grown(first, joined, { channels: one + two, by: 27 * channels + 9 });
  },

  /** A value that is added to one that was made from its mean, by Unsqueeze or Reshape. */
  summarised(growth) {
    const { first, p, twin } = growth;
    const { space, last, channels } = first;
    if (last || space.length === 0) return null;
    const axes = space.map((_, i) => i + 2);
    const row = growth.reduce('ReduceMax', twin.name, axes, 0);
    const map =
      p % 2 ? growth.squeeze('Unsqueeze', row, ...axes) : growth.reshape(row, 0, channels, ...space.map(() => 1));
    return grown(both(first, twin), growth.op('Add', [first.name, map]), { by: 2 });
  },

  /** Windows of 2x2 pixels as tokens of their own, mixed, and put back where they were. */
  windowed(growth) {
    const { g, first, p } = growth;
    const { channels, space, last, name } = first;
    if (last || space.length !== 2 || space.some(length => length % 2)) return null;
    const [rows, columns] = space.map(length => length / 2);
    const apart = growth.reshape(name, 0, channels, rows, 2, columns, 2);
    const windows = growth.transpose(apart, 0, 2, 4, 3, 5, 1);
    const tokens = growth.reshape(windows, -1, 4, channels);
    const mixed = growth.linear(g.op('Relu', [growth.linear(tokens, channels, 5)]), 5, channels);
    const back = growth.reshape(mixed, growth.dynamic || p % 2 ? -1 : 2, rows, columns, 2, 2, channels);
    const image = growth.reshape(
      growth.transpose(back, 0, 5, 1, 3, 2, 4),
      growth.dynamic || p % 2 ? 0 : 2,
      channels,
      ...space,
    );
    return grown(first, g.op('Add', [name, image]), { by: 5 * channels + 6 });
  },

  /** Two branches of one tensor, the gate and the value, that a linear layer makes. */
  gatedLinear(growth) {
    const { g, first, p } = growth;
    const { channels, last, name } = first;
    if (!last || first.bound > 100) return null;
    const both = growth.linear(name, channels, 8);
    const axis = first.space.length + 1;
    const [gate, value] = growth.split(both, axis, [4, 4]);
    const product = g.op('Mul', p % 2 ? [g.op('Relu', [gate]), value] : [value, g.op('Relu', [gate])]);
    const bound = (channels * first.bound + 1) ** 2 * 4 + 1;
    return { ...first, name: growth.linear(product, 4, channels), bound, bits: 2 * first.bits };
  },
};

/** Three projections [N, heads, tokens, width], the second with its last axes turned. */
function heads3(growth: Growth, from: number, heads: number, width: number, tokens: number): string[] {
  return [0, 1, 2].map(which => {
    const rows = growth.linear(growth.first.name, from, heads * width);
    const apart = growth.reshape(rows, 0, which === 1 ? -1 : tokens, heads, width);
    return growth.transpose(apart, 0, 2, ...(which === 1 ? [3, 1] : [1, 3]));
  });
}

/** One projection for all three, taken apart by Reshape, Transpose and Gather. */
function fusedHeads(growth: Growth, from: number, heads: number, width: number): string[] {
  const { g, first } = growth;
  const rows = growth.linear(first.name, from, 3 * heads * width);
  const apart = growth.transpose(growth.reshape(rows, 0, first.space[0], 3, heads, width), 2, 0, 3, 1, 4);
  return [0, 1, 2].map(which => {
    const index = g.initializer(g.unique('which'), BigInt64Array.of(BigInt(which)), []);
    const part = g.op('Gather', [apart, index], { axis: 0 });
    return which === 1 ? growth.transpose(part, 0, 1, 3, 2) : part;
  });
}
