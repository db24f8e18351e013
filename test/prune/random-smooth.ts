import { DataType, float } from '../../src/onnx/index.ts';
import { channelAxis, type Growth, grown, isKnown, lengths, type Steps } from './random-growth.ts';

const ops = (growth: Growth, ...types: readonly string[]) =>
  types.filter(type => isKnown(type) && since(type) <= growth.opset);

/** The first operator set of operators that came late. */
const since = (type: string): number =>
  ({ Erf: 9, Celu: 12, HardSwish: 14, LayerNormalization: 17, Mish: 18, Gelu: 20, Swish: 24, RMSNormalization: 23 })[
    type
  ] ?? 7;

/** Operators whose results are rounded. */
export const smooth: Steps = {
  bent(growth) {
    const { g, first, p } = growth;
    const types = ops(
      growth,
      'Sigmoid',
      'Tanh',
      'Softplus',
      'Softsign',
      'Elu',
      'Celu',
      'Selu',
      'HardSigmoid',
      'HardSwish',
      'Mish',
      'Gelu',
      'Erf',
      'ThresholdedRelu',
    );
    return types.length ? grown(first, g.op(types[p % types.length], [first.name])) : null;
  },

  /** x times its sigmoid, and Gelu by its formula. */
  composed(growth) {
    const { g, first, p } = growth;
    const x = first.name;
    if (p % 2 || !isKnown('Erf')) return grown(first, g.op('Mul', [x, g.op('Sigmoid', [x])]));
    const error = g.op('Erf', [g.op('Mul', [x, growth.scalar(Math.SQRT1_2)])]);
    const half = g.op('Mul', [x, growth.scalar(0.5)]);
    return grown(first, g.op('Mul', [half, g.op('Add', [error, growth.scalar(1)])]));
  },

  softmax(growth) {
    const { g, first, p } = growth;
    // Before operator set 13 it takes all axes from this one on together.
    const axis = first.space.length && p % 3 ? lengths(first).length : channelAxis(first);
    return grown(first, g.op(p % 4 ? 'Softmax' : 'LogSoftmax', [first.name], { axis }));
  },

  /** Over the channels of tokens, by the operator or written out. */
  layerNorm(growth) {
    const { g, first, p } = growth;
    if (!first.last) return null;
    const { channels, name } = first;
    const [scale, shift] = [growth.weight(channels), growth.weight(channels)];
    if (p % 2 && ops(growth, 'LayerNormalization').length) {
      return grown(first, g.op('LayerNormalization', [name, scale, shift], { axis: -1, epsilon: float(0.1) }));
    }
    const centred = g.op('Sub', [name, growth.reduce('ReduceMean', name, [-1], 1)]);
    const variance = growth.reduce('ReduceMean', g.op('Mul', [centred, centred]), [-1], 1);
    const deviation = g.op('Sqrt', [g.op('Add', [variance, growth.scalar(0.1)])]);
    return grown(first, g.op('Add', [g.op('Mul', [g.op('Div', [centred, deviation]), scale]), shift]));
  },

  instanceNorm(growth) {
    const { g, first, p } = growth;
    const { channels, space, last, name } = first;
    if (last || space.length === 0 || !isKnown('InstanceNormalization')) return null;
    const group = [2, 3].find(count => channels % count === 0);
    if (p % 2 && group) {
      // Group normalisation as PyTorch exports it.
      const [ones, none] = [1, 0].map(value =>
        g.initializer(g.unique('c'), new Float32Array(group).fill(value), [group]),
      );
      const apart = growth.reshape(name, 0, group, -1);
      const normal = g.op('InstanceNormalization', [apart, ones, none], { epsilon: float(0.1) });
      const together = growth.reshape(normal, 0, channels, ...space);
      const dims = [channels, ...space.map(() => 1)];
      return grown(first, g.op('Add', [g.op('Mul', [together, growth.weight(...dims)]), growth.weight(...dims)]));
    }
    const inputs = [name, growth.weight(channels), growth.weight(channels)];
    return grown(first, g.op('InstanceNormalization', inputs, { epsilon: float(0.1) }));
  },

  /** By the operator of operator set 21, or over the root mean square of tokens. */
  otherNorm(growth) {
    const { g, opset, first } = growth;
    const { channels, last, name } = first;
    const group = [2, 3].find(count => channels % count === 0);
    if (!last && group && opset >= 21 && first.space.length > 0 && isKnown('GroupNormalization')) {
      const inputs = [name, growth.weight(channels), growth.weight(channels)];
      return grown(first, g.op('GroupNormalization', inputs, { num_groups: group, epsilon: float(0.1) }));
    }
    if (!last) return null;
    const square = growth.reduce('ReduceMean', g.op('Mul', [name, name]), [-1], 1);
    const root = g.op('Sqrt', [g.op('Add', [square, growth.scalar(0.1)])]);
    return grown(first, g.op('Mul', [g.op('Div', [name, root]), growth.weight(channels)]));
  },

  /** Attention with Softmax, its scale read off the width; queries may share keys and values. */
  softAttention(growth) {
    const { g, first, p, q } = growth;
    const { channels, space, last, name } = first;
    if (!last || space.length !== 1) return null;
    const [shared, width] = [1 + (p % 2), 2 + (q % 3)];
    const queries = shared * (1 + (q % 2));
    const project = (heads: number) =>
      growth.reshape(growth.linear(name, channels, heads * width), 0, space[0], heads, width);
    const rows = [queries, shared, shared].map(heads => growth.transpose(project(heads), 0, 2, 1, 3));
    const each = queries / shared;
    const [keys, values] = rows.slice(1).map(x => (each > 1 ? repeated(growth, x, shared, each, width) : x));
    const length = g.op('Gather', [g.op('Shape', [rows[0]]), growth.ints(-1)]);
    const root = g.op('Sqrt', [g.op('Cast', [length], { to: DataType.FLOAT })]);
    const products = g.op('MatMul', [rows[0], growth.transpose(keys, 0, 1, 3, 2)]);
    const scores = g.op('Softmax', [g.op('Div', [products, root])], { axis: growth.opset < 13 ? 3 : -1 });
    const mixed = growth.transpose(g.op('MatMul', [scores, values]), 0, 2, 1, 3);
    const joined = growth.reshape(mixed, 0, space[0], queries * width);
    return grown(first, g.op('Add', [name, growth.linear(joined, queries * width, channels)]), { by: 20 });
  },

  /** A recurrent layer over the tokens. */
  recurrent(growth) {
    const { g, first, p, q } = growth;
    const { channels, space, last, name } = first;
    if (!last || space.length !== 1) return null;
    const [type, gates] = [
      ['LSTM', 4],
      ['GRU', 3],
      ['RNN', 1],
    ][p % 3] as [string, number];
    const hidden_size = 2 + (q % 4);
    const inputs = [
      growth.transpose(name, 1, 0, 2),
      growth.weight(1, gates * hidden_size, channels),
      growth.weight(1, gates * hidden_size, hidden_size),
    ];
    if (p % 2) inputs.push(growth.weight(1, 2 * gates * hidden_size));
    const [all] = g.node(type, inputs, { hidden_size }, { outputs: [g.unique('states')] });
    const back = growth.transpose(growth.squeeze('Squeeze', all, 1), 1, 0, 2);
    return { ...first, name: back, channels: hidden_size, bound: 1 };
  },

  lrn({ g, first }) {
    if (first.last || first.space.length !== 2 || !isKnown('LRN')) return null;
    return grown(first, g.op('LRN', [first.name], { size: 3 }));
  },

  averaged(growth) {
    const { g, first, p } = growth;
    const { space, last, name } = first;
    if (space.length === 0) return null;
    if (!last && p % 2) return grown(first, g.op('GlobalAveragePool', [name]), { space: space.map(() => 1) });
    const axes = space.map((_, i) => (last ? 1 : 2) + i);
    const type = ops(growth, 'ReduceMean', 'ReduceL2', 'ReduceL1', 'ReduceLogSumExp')[p % 4] ?? 'ReduceMean';
    return grown(first, growth.reduce(type, name, axes, 0), { space: [], last: false, by: 8 });
  },

  /** The mean over the channels is a wall for them. */
  centred(growth) {
    const { g, first } = growth;
    const mean = growth.reduce('ReduceMean', first.name, [channelAxis(first)], 1);
    return grown(first, g.op('Sub', [first.name, mean]), { by: 2 });
  },

  /** An operator that the product does not know: a wall. */
  unknown(growth) {
    const { g, first, p } = growth;
    const name = g.node('SampleOp', [first.name], {}, { name: g.unique('strange'), domain: 'com.microsoft' });
    if (p % 2) g.value(name, [growth.dynamic ? 'N' : 2, ...lengths(first)]);
    return grown(first, name);
  },
};

/** Every head of keys or values for several queries, as transformers write it. */
function repeated(growth: Growth, x: string, heads: number, times: number, width: number): string {
  const { g, first } = growth;
  const tokens = first.space[0];
  const wide = growth.squeeze('Unsqueeze', x, 2);
  const target = growth.ints(1, heads, times, tokens, width);
  return growth.reshape(g.op('Expand', [wide, target]), 0, heads * times, tokens, width);
}
