import { DataType, float } from '../../src/onnx/index.ts';
import { channelAxis, grown, isKnown, product, type Steps } from './random-growth.ts';

/** Layers with weights. */
export const layers: Steps = {
  conv({ g, first, p, q, layers: made }) {
    const { channels: from, space, last } = first;
    if (last || space.length === 0) return null;
    const kernel = p % 2 ? 3 : 1;
    const dilation = kernel === 3 && p % 5 === 4 ? 2 : 1;
    const stride = space[0] > 2 && q % 4 === 0 ? 2 : 1;
    const pad = dilation * (kernel >> 1);
    const extra = q % 7 === 6 ? 1 : 0;
    const to = 3 + (q % 8);
    const dims = [to, from, ...space.map(() => kernel)];
    const name = g.unique('conv');
    const inputs = [first.name, g.weight(`${name}.weight`, dims)];
    if (p % 3 > 0) inputs.push(g.weight(`${name}.bias`, [to]));
    const [strides, dilations] = [space.map(() => stride), space.map(() => dilation)];
    const pads = [...space.map(() => pad), ...space.map(() => pad + extra)];
    const same = p % 7 === 6;
    const attributes = same ? { auto_pad: 'SAME_UPPER', strides } : { strides, pads, dilations };
    const output = g.node('Conv', inputs, attributes, { name, output: name });
    const size = (length: number) => (same ? Math.ceil(length / stride) : Math.ceil((length + extra) / stride));
    made.push({ weight: inputs[1], dims });
    return grown(first, output, { channels: to, space: space.map(size), by: kernel ** space.length * from });
  },

  grouped({ g, first, p, q }) {
    const { channels: from, space, last } = first;
    const groups = [2, 3, 4, from].filter(count => count > 1 && from % count === 0);
    if (last || space.length === 0 || groups.length === 0) return null;
    const group = groups[p % groups.length];
    const to = group * (1 + (q % 3));
    if (to > 16) return null;
    const name = g.unique('grouped');
    const inputs = [first.name, g.weight(`${name}.weight`, [to, from / group, ...space.map(() => 3)])];
    if (q % 3 > 0) inputs.push(g.weight(`${name}.bias`, [to]));
    const output = g.node('Conv', inputs, { group, pads: space.flatMap(() => [1, 1]) }, { name, output: name });
    return grown(first, output, { channels: to, by: (3 ** space.length * from) / group });
  },

  transposedConv({ g, first, p, q }) {
    const { channels: from, space, last } = first;
    if (last || space.length === 0 || Math.max(...space) > 4) return null;
    const group = p % 3 === 0 && from % 2 === 0 ? 2 : 1;
    const per = 1 + (q % 4);
    const name = g.unique('up');
    const inputs = [first.name, g.weight(`${name}.weight`, [from, per, ...space.map(() => 2)])];
    if (q % 2) inputs.push(g.weight(`${name}.bias`, [per * group]));
    const output = g.node('ConvTranspose', inputs, { group, strides: space.map(() => 2) }, { name, output: name });
    return grown(first, output, { channels: per * group, space: space.map(length => 2 * length), by: from });
  },

  /** A weight that an earlier convolution has. */
  convAgain({ g, first, p, layers: made }) {
    const { channels, space, last } = first;
    const found = made.filter(({ dims }) => dims[1] === channels && dims.length === space.length + 2);
    if (last || space.length === 0 || found.length === 0) return null;
    const { weight, dims } = found[p % found.length];
    const pads = space.flatMap(() => [dims[2] >> 1, dims[2] >> 1]);
    return grown(first, g.op('Conv', [first.name, weight], { pads }), {
      channels: dims[0],
      by: product(dims.slice(1)),
    });
  },

  linear({ g, opset, first, p, q, layers: made }) {
    const { channels: from, space, last, name } = first;
    const to = 3 + (q % 7);
    if (space.length === 0) {
      const weight = g.weight(g.unique('fc'), p % 2 ? [to, from] : [from, to]);
      if (p % 2) made.push({ weight, dims: [to, from] });
      const scaled = p % 5 === 4;
      const attributes = { transB: p % 2, ...(scaled ? { alpha: float(2), beta: float(0.5) } : {}) };
      const bias = g.weight(g.unique('bias'), p % 3 === 0 ? [1, to] : [to]);
      const inputs = p % 4 === 3 && opset >= 11 ? [name, weight] : [name, weight, bias];
      return grown(first, g.op('Gemm', inputs, attributes), { channels: to, by: 2 * from, bits: scaled ? 1 : 0 });
    }
    if (!last) return null;
    const weight =
      p % 3 === 0
        ? g.op('Transpose', [g.weight(g.unique('fc'), [to, from])], { perm: [1, 0] })
        : g.weight(g.unique('fc'), [from, to]);
    const rows = g.op('MatMul', [name, weight]);
    const bias = g.weight(g.unique('bias'), [to]);
    const output = p % 4 === 3 ? rows : g.op('Add', p % 2 ? [rows, bias] : [bias, rows]);
    return grown(first, output, { channels: to, by: from });
  },

  /** Channels first, mixed by a weight on the left. */
  leftMatMul({ g, first, q }) {
    const { channels: from, space, last } = first;
    if (last || space.length !== 1) return null;
    const to = 3 + (q % 6);
    return grown(first, g.op('MatMul', [g.weight(g.unique('left'), [to, from]), first.name]), {
      channels: to,
      by: from,
    });
  },

  /** The transpose of a weight that an earlier linear layer has. */
  tied({ g, first, p, layers: made }) {
    const found = made.filter(({ dims }) => dims.length === 2 && dims[0] === first.channels);
    if (first.space.length > 0 || found.length === 0) return null;
    const { weight, dims } = found[p % found.length];
    return grown(first, g.op('MatMul', [first.name, weight]), { channels: dims[1], by: dims[0] });
  },

  norm({ g, first, p }) {
    const { channels, space, last, name } = first;
    if (last) return null;
    if (p % 3 > 0) return grown(first, g.norm(name, channels), { by: 2 });
    const dims = [channels, ...space.map(() => 1)];
    const [scale, shift] = ['scale', 'shift'].map(part => g.weight(g.unique(part), p % 2 ? dims : [1, ...dims]));
    return grown(first, g.op('Add', [g.op('Mul', [name, scale]), shift]), { by: 2 });
  },

  pooled({ g, first, p, q }) {
    const { space, last, name } = first;
    if (last || space.length === 0 || Math.min(...space) < 2) return null;
    const window = (size: number) => ({ kernel_shape: space.map(() => size), strides: space.map(() => 2) });
    if (q % 3 === 0) {
      const attributes = { ...window(3), pads: space.flatMap(() => [1, 1]), strides: space.map(() => 1) };
      return grown(first, g.op('MaxPool', [name], attributes));
    }
    const halved = space.map(length => length >> 1);
    if (p % 2) return grown(first, g.op('MaxPool', [name], window(2)), { space: halved });
    return grown(first, g.op('AveragePool', [name], window(2)), { space: halved, bits: space.length });
  },

  pooledWhole({ g, first, p }) {
    const { space, last, name } = first;
    if (last || space.length === 0) return null;
    const ones = space.map(() => 1);
    const bits = Math.log2(product(space));
    if (p % 2 || !Number.isInteger(bits)) return grown(first, g.op('GlobalMaxPool', [name]), { space: ones });
    return grown(first, g.op('GlobalAveragePool', [name]), { space: ones, bits });
  },

  total(growth) {
    const { first, p } = growth;
    const axis = channelAxis(first);
    if (p % 2)
      return grown(first, growth.reduce('ReduceSum', first.name, [axis], 1), { channels: 1, by: first.channels });
    const { space } = first;
    if (space.length === 0) return null;
    const axes = space.map((_, i) => (first.last ? 1 : 2) + i);
    const name = growth.reduce(p % 4 ? 'ReduceMax' : 'ReduceSum', first.name, axes, 0);
    return grown(first, name, { space: [], last: false, by: product(space) });
  },

  /** Channels mixed by the letters of an Einsum. */
  einsum({ g, opset, first, p, q }) {
    const { channels: from, space, last, name } = first;
    if (opset < 12 || !isKnown('Einsum')) return null;
    const to = 3 + (q % 6);
    const other = 'xyz'.slice(0, space.length);
    const [before, after] = last ? [`n${other}c`, `n${other}d`] : [`nc${other}`, `nd${other}`];
    const weight = g.weight(g.unique('mix'), p % 2 ? [from, to] : [to, from]);
    const operands = p % 3 ? [name, weight] : [weight, name];
    const terms = p % 3 ? [before, p % 2 ? 'cd' : 'dc'] : [p % 2 ? 'cd' : 'dc', before];
    const equation = `${terms.join(',')}->${after}`;
    return grown(first, g.op('Einsum', operands, { equation }), { channels: to, by: from });
  },

  /** A weight of 8-bit codes, with a scale and perhaps a zero point for each output channel. */
  coded({ g, opset, first, p, q }) {
    const { channels: from, space, last, name } = first;
    if (opset < 13 || last || space.length !== 2 || !isKnown('DequantizeLinear')) return null;
    const to = 3 + (q % 6);
    const base = g.unique('coded');
    const codes = floatsOf(to * from * 9, i => ((i * 7919 + q) % 3) - 1);
    const points = floatsOf(to, i => (i + p) % 2);
    const inputs = [
      g.initializer(`${base}.codes`, codes, [to, from, 3, 3], DataType.INT8),
      g.initializer(
        `${base}.scale`,
        Float32Array.from(points, point => 1 - point / 2),
        [to],
      ),
    ];
    if (p % 3) inputs.push(g.initializer(`${base}.point`, points, [to], DataType.INT8));
    const weight = g.op('DequantizeLinear', inputs, { axis: p % 2 ? 0 : -4 });
    const bias = q % 2 ? [g.weight(`${base}.bias`, [to])] : [];
    const output = g.op('Conv', [name, weight, ...bias], { pads: [1, 1, 1, 1] });
    return grown(first, output, { channels: to, by: 18 * from, bits: 1 });
  },
};

const floatsOf = (length: number, f: (i: number) => number): number[] => Array.from({ length }, (_, i) => f(i));
