import { DataType } from '../../src/onnx/index.ts';
import {
  both,
  channelAxis,
  type Growth,
  grown,
  isKnown,
  lengths,
  product,
  type Steps,
  spaceAxis,
  type Value,
} from './random-growth.ts';

/** The most channels that a net has. */
const widest = 16;

/** Pointwise operators, and what joins, splits, picks and regroups channels. */
export const wiring: Steps = {
  relu: ({ g, first }) => grown(first, g.op('Relu', [first.name])),

  unary(growth) {
    const { g, first, p, q } = growth;
    const kind = p % 5;
    if (kind === 0) return grown(first, g.op('LeakyRelu', [first.name], { alpha: 0.5 }), { bits: 1 });
    if (kind === 1) return grown(first, growth.clip(first.name, [0, -1, 1][q % 3], 6));
    if (kind === 2 && !first.last) {
      const slope = growth.weight(first.channels, ...first.space.map(() => 1));
      return grown(first, g.op('PRelu', [first.name, slope]));
    }
    const types = ['Neg', 'Abs', 'Identity'].filter(type => isKnown(type));
    return grown(first, g.op(types[q % types.length], [first.name]));
  },

  constant(growth) {
    const { g, first, p, q } = growth;
    const own = lengths(first);
    const at = channelAxis(first) - 1;
    const alone = own.map((length, axis) => (axis === at ? length : 1));
    const dims = [[], [1], alone, [1, ...alone], own, own.map((length, axis) => (axis === at ? 1 : length))][q % 6];
    const type = ['Add', 'Sub', 'Mul', 'Max', 'Min'][p % 5];
    const operands = [first.name, growth.weight(...dims)];
    return grown(first, g.op(type, p % 2 ? operands : operands.reverse()));
  },

  binary(growth) {
    const { g, first, p, twin } = growth;
    const type = ['Add', 'Sub', 'Max', 'Min', 'Sum', 'Add', 'Max'][p % 7];
    const operands = type === 'Sum' ? [first.name, twin.name, first.name] : [first.name, twin.name];
    return grown(both(first, twin), g.op(type, operands), { by: 3 });
  },

  product(growth) {
    const { g, first, twin } = growth;
    const name = g.op('Mul', [first.name, twin.name]);
    return { ...first, name, bound: first.bound * twin.bound, bits: first.bits + twin.bits };
  },

  chosen(growth) {
    const { g, first, twin, p } = growth;
    if (!isKnown('Where') || !isKnown('Greater')) return null;
    const condition = g.op('Greater', [first.name, p % 2 ? growth.scalar(0) : twin.name]);
    return grown(both(first, twin), g.op('Where', [condition, first.name, twin.name]));
  },

  concat(growth) {
    const { g, first, p } = growth;
    if (p % 6 === 5 && first.space.length > 0 && product(first.space) <= 64) {
      const other = growth.twin;
      const axis = spaceAxis(first);
      const space = [2 * first.space[0], ...first.space.slice(1)];
      return grown(both(first, other), g.op('Concat', [first.name, other.name], { axis }), { space });
    }
    const other = growth.partner(({ space }) => space.join() === first.space.join());
    const channels = first.channels + other.channels;
    if (channels > widest) return null;
    const axis = p % 2 ? channelAxis(first) : first.last ? -1 : 1;
    return grown(both(first, other), g.op('Concat', [first.name, other.name], { axis }), { channels });
  },

  slice(growth) {
    const { first, step } = growth;
    const stride = [1, 2, 2, -1, -2][step.q % 5];
    const skipped = step.p % Math.max(1, first.channels >> 1);
    const start = stride > 0 ? skipped : first.channels - 1 - skipped;
    const all = Array.from({ length: first.channels }, (_, i) => start + i * stride);
    const channels = all.filter(i => i >= 0 && i < first.channels).length;
    if (channels < 2 || (growth.opset < 10 && stride !== 1)) return null;
    const axis = channelAxis(first);
    const end = stride > 0 ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER;
    if (step.b % 2 || first.space.length === 0 || first.space[0] < 2) {
      return grown(first, growth.slice(first.name, axis, start, end, stride), { channels });
    }
    // The first column is left out too.
    const space = [first.space[0] - 1, ...first.space.slice(1)];
    const axes = [axis, spaceAxis(first)];
    return grown(first, growth.slices(first.name, axes, [start, 1], [end, 1000], [stride, 1]), { channels, space });
  },

  /** The first column is left out, and a column of zeros comes behind the last. */
  shiftedSpace(growth) {
    const { first } = growth;
    if (first.space.length === 0 || first.space[0] < 2) return null;
    const axis = spaceAxis(first);
    const rest = growth.slice(first.name, axis, 1, 1000);
    const none = [0, ...lengths(first).map(() => 0)];
    return grown(first, growth.pad(rest, none, none.with(axis, 1), growth.q % 3));
  },

  split(growth) {
    const { first, p, q } = growth;
    if (first.channels < 4) return null;
    const one = 1 + (p % (first.channels - 2));
    const parts = [one, first.channels - one];
    const outputs = growth.split(first.name, channelAxis(first), parts);
    return grown(first, outputs[q % 2], { channels: parts[q % 2] });
  },

  /** Halves that are joined again after something happened to one of them. */
  halves(growth) {
    const { g, first, p, q } = growth;
    if (first.channels % 2) return null;
    const axis = channelAxis(first);
    const [one, two] = growth.split(first.name, axis, [first.channels / 2, first.channels / 2]);
    const changed = g.op(q % 2 ? 'Relu' : 'Neg', [two]);
    if (p % 3 === 0) {
      return { ...grown(first, g.op('Mul', [one, changed]), { channels: first.channels / 2 }), ...squared(first) };
    }
    return grown(first, g.op('Concat', p % 2 ? [changed, one] : [one, changed], { axis }));
  },

  pad(growth) {
    const { first, p, q } = growth;
    const [begin, end] = [p % 3, q % 3];
    if (first.channels + begin + end > widest) return null;
    const none = [0, ...lengths(first).map(() => 0)];
    const axis = channelAxis(first);
    const value = growth.step.b % 3 ? 0 : 1;
    const name = growth.pad(first.name, none.with(axis, begin), none.with(axis, end), value);
    return grown(first, name, { channels: first.channels + begin + end });
  },

  gather(growth) {
    const { g, first, step } = growth;
    const indices = Array.from({ length: 2 + (step.p % 6) }, (_, i) => (step.q * (i + 1) + i * i) % first.channels);
    const axis = channelAxis(first);
    return grown(first, g.op('Gather', [first.name, growth.ints(...indices)], { axis }), { channels: indices.length });
  },

  /** Channels to the other end. */
  turned(growth) {
    const { first } = growth;
    const { space, last } = first;
    if (space.length === 0) return null;
    const axes = space.map((_, i) => i + (last ? 1 : 2));
    const perm = last ? [0, space.length + 1, ...axes] : [0, ...axes, 1];
    return grown(first, growth.transpose(first.name, ...perm), { last: !last });
  },

  /** Rounded to 8-bit codes and back. */
  requantised(growth) {
    const { g, first, p, q } = growth;
    if (growth.opset < 13 || !isKnown('QuantizeLinear')) return null;
    const inputs = [growth.scalar([1, 0.5][q % 2])];
    const [type, point] = p % 2 ? [DataType.INT8, 0] : [DataType.UINT8, 128];
    if (p % 3) inputs.push(g.initializer(g.unique('point'), [point], [], type));
    const codes = g.op('QuantizeLinear', [first.name, ...inputs]);
    return { ...grown(first, g.op('DequantizeLinear', [codes, ...inputs])), bound: 255, bits: 1 };
  },

  /** Running sums over space. */
  summedUp(growth) {
    const { g, opset, first, p } = growth;
    if (opset < 11 || first.space.length === 0 || !isKnown('CumSum')) return null;
    const axis = g.initializer(g.unique('axis'), BigInt64Array.of(BigInt(spaceAxis(first))), []);
    const name = g.op('CumSum', [first.name, axis], { reverse: p % 2, exclusive: (p >> 1) % 2 });
    return grown(first, name, { by: first.space[0] });
  },

  /** All of space on one axis, or one axis of space on two. */
  regrouped(growth) {
    const { first, p } = growth;
    const { space, channels, last } = first;
    const even = space.length === 1 && space[0] % 2 === 0;
    if (space.length < 2 && !even) return null;
    const next = even ? [2, space[0] / 2] : [product(space)];
    const to = last ? [...next, channels] : [channels, ...next];
    const lead = p % 3 === 0 ? -1 : 0;
    return grown(first, growth.reshape(first.name, lead, ...(lead === 0 && !even && p % 2 ? minusOne(to, last) : to)), {
      space: next,
    });
  },

  /** Everything on one axis. */
  flattened(growth) {
    const { g, first, p } = growth;
    const channels = product(lengths(first));
    if (first.space.length === 0 || channels > 4 * widest) return null;
    const name =
      p % 2 ? g.op('Flatten', [first.name]) : growth.reshape(first.name, ...[0, channels].with((p % 4) >> 1, -1));
    return grown(first, name, { channels, space: [], last: false });
  },

  /** A row of numbers as an image of 1x1, and back. */
  lifted(growth) {
    const { first, p } = growth;
    const { space, last, channels } = first;
    if (space.length === 0) {
      const name =
        p % 2 ? growth.squeeze('Unsqueeze', first.name, 2, 3) : growth.reshape(first.name, 0, channels, 1, 1);
      return grown(first, name, { space: [1, 1] });
    }
    if (product(space) !== 1 || last) return null;
    const axes = space.map((_, i) => i + 2);
    return grown(first, growth.squeeze('Squeeze', first.name, ...axes), { space: [] });
  },

  shuffled(growth) {
    const { first, p } = growth;
    const { space, channels, last } = first;
    const groups = [2, 3, 4].filter(count => channels % count === 0 && channels > count);
    if (last || groups.length === 0) return null;
    const group = groups[p % groups.length];
    const apart = growth.reshape(first.name, 0, group, channels / group, ...space);
    const swapped = growth.transpose(apart, 0, 2, 1, ...space.map((_, i) => i + 3));
    return grown(first, growth.reshape(swapped, 0, p % 2 ? channels : -1, ...space));
  },
};

/** A product of a value's parts. */
const squared = ({ bound, bits }: Value) => ({ bound: bound * bound, bits: 2 * bits });

/** The axis of the space left open. */
const minusOne = (to: readonly number[], last: boolean): number[] => to.with(last ? 0 : -1, -1);

/** Steps of operators that reach other pixels. */
export const spatial: Steps = {
  spread(growth) {
    const { first, p } = growth;
    const { space, channels, last } = first;
    if (last || space.length !== 2) return null;
    if (p % 2 && isKnown('SpaceToDepth') && space.every(length => length % 2 === 0) && channels <= 4) {
      const name = growth.op('SpaceToDepth', [first.name], { blocksize: 2 });
      return grown(first, name, { channels: 4 * channels, space: space.map(length => length / 2) });
    }
    if (!isKnown('DepthToSpace') || channels % 4 || Math.max(...space) > 4) return null;
    const mode = p % 3 && growth.opset >= 11 ? 'CRD' : 'DCR';
    const attributes = growth.opset >= 11 ? { blocksize: 2, mode } : { blocksize: 2 };
    const name = growth.op('DepthToSpace', [first.name], attributes as Record<string, number | string>);
    return grown(first, name, { channels: channels / 4, space: space.map(length => 2 * length) });
  },

  resized(growth) {
    const { first } = growth;
    const { space, last } = first;
    if (last || space.length !== 2 || Math.max(...space) > 4 || !isKnown('Resize') || !isKnown('Upsample')) return null;
    return grown(first, nearest(growth), { space: space.map(length => 2 * length) });
  },

  tiled(growth) {
    const { first, p, q } = growth;
    const { channels } = first;
    if (p % 2 && isKnown('Tile') && 2 * channels <= widest) {
      const repeats = [1, ...lengths(first).map(() => 1)].with(channelAxis(first), 2);
      return grown(first, growth.op('Tile', [first.name, growth.ints(...repeats)]), { channels: 2 * channels });
    }
    if (!isKnown('Expand') || channels !== 1) return null;
    const to = [1, ...lengths({ ...first, channels: 2 + (q % 4) })];
    return grown(first, growth.op('Expand', [first.name, growth.ints(...to)]), { channels: 2 + (q % 4) });
  },
};

/** Twice as high and wide, in the forms that exporters write. */
function nearest(growth: Growth): string {
  const { g, opset, dynamic, p } = growth;
  const { name, channels, space } = growth.first;
  const scales = g.initializer(g.unique('scales'), Float32Array.of(1, 1, 2, 2), [4]);
  if (opset < 10) return g.op('Upsample', [name, scales], { mode: 'nearest' });
  const attributes = { mode: 'nearest' };
  if (opset < 11) return g.op('Resize', [name, scales], attributes);
  const modern = { ...attributes, coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };
  if (p % 2 || opset < 13)
    return g.op('Resize', [name, g.initializer(g.unique('roi'), new Float32Array(0), [0]), scales], modern);
  const sizes = growth.ints(2, channels, ...space.map(length => 2 * length));
  if (!dynamic) return g.op('Resize', [name, '', '', sizes], modern);
  const batch = growth.slice(g.op('Shape', [name]), 0, 0, 2);
  const rest = growth.ints(...space.map(length => 2 * length));
  return g.op('Resize', [name, '', '', g.op('Concat', [batch, rest], { axis: 0 })], modern);
}
